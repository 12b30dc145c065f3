/**
 * `bpeft compare`: methods × datasets × seeds with equal sample budgets, as one table. Every cell
 * is an ordinary run in a folder of its own, so that a comparison that was stopped goes on where it
 * was, and a row that is added later costs its own runs only.
 */

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FOLDER_RULE, STANDARD_OUTPUT } from '../config/standard-output.ts';
import { isolated } from '../engine/call.ts';
import { abortError, BpeftError } from '../errors.ts';
import { type Listener, observed, type Sink } from '../events/sinks.ts';
import type { ComparedCell } from '../report/compared-cells.ts';
import { readReport } from '../report/write-report.ts';
import { refuseDataFolder } from '../run/records/data-folder.ts';
import { requireFolderForRuns } from '../run/records/folder-contents.ts';
import { RunFolder } from '../run/records/run-folder.ts';
import { runJob } from './job-process.ts';
import { type Cell, cellsOf, type Job } from './jobs.ts';
import { Progress } from './progress.ts';
import { readTable } from './table.ts';
import { requireOwnTables, writeTables } from './tables.ts';

export interface CompareOptions {
  /** The file that says what is compared (`table.ts`). */
  readonly config: string;
  /** Folder for the runs and the table; `runs/<name of the file>` unless given. */
  readonly out?: string | undefined;
}

/** Where a comparison stands, once for each cell that has something to run. */
export interface CompareStep {
  readonly dataset: string;
  /** The row of the table. */
  readonly method: string;
  readonly seed: number;
  /** From 1. */
  readonly number: number;
  readonly of: number;
}

export interface CompareContext {
  /** Stops it after a checkpoint of the run that is under way. */
  readonly signal?: AbortSignal | undefined;
  /** Only listens. */
  readonly onCell?: ((step: CompareStep) => void) | undefined;
  /**
   * Hears the events of every run, one run after another, and of how the comparison failed or was
   * stopped. It cannot change or end them.
   */
  readonly onEvent?: Sink | Listener | undefined;
}

export interface Comparison {
  readonly format: 1;
  readonly table: string;
  readonly cells: readonly ComparedCell[];
  readonly out: string;
}

/**
 * @returns what `table.json` holds
 * @throws {BpeftError} `BPEFT_USAGE` before anything runs; `BPEFT_ABORTED`; what a run throws, with
 * its folder, once the table of the others is written.
 */
export async function compare(
  options: CompareOptions,
  context: CompareContext = {},
): Promise<Comparison> {
  if (options.out === STANDARD_OUTPUT)
    throw new BpeftError('BPEFT_USAGE', `--out ${FOLDER_RULE}, got ${STANDARD_OUTPUT}`);
  const table = await readTable(options.config);
  const out = options.out ?? join('runs', table.name);
  const cells = cellsOf(table, out);
  await refuseDataFolder(out, 'folder');
  requireFolderForRuns(out);
  await requireOwnTables(out);
  const progress = await Progress.open(out);
  for (const { jobs } of cells) for (const job of jobs) progress.requireSame(job);
  return observed(context.onEvent, {}, async (sinks) => {
    const failures = await runCells(cells, progress, { ...context, onEvent: sinks.event });
    const done = cells.filter((cell) => !failures.has(cell));
    const result = await tabulated(done, progress, { table: table.name, out });
    if (failures.size > 0) throw failed(failures, cells.length);
    return result;
  });
}

/** Writes the tables of these cells. */
async function tabulated(
  cells: readonly Cell[],
  progress: Progress,
  head: Pick<Comparison, 'table' | 'out'>,
): Promise<Comparison> {
  const known = new Map(
    cells.map(({ result, row }) => [result, { label: row, peakRssMb: progress.peakRssMb(result) }]),
  );
  const { table, out } = head;
  if (known.size === 0) return { format: 1, table, cells: [], out };
  const { comparison } = await readReport([...known.keys()], known);
  const result: Comparison = { format: 1, table, cells: comparison, out };
  await writeTables(result);
  return result;
}

/** Why cells failed; one that fails does not keep the others from running. */
type Failures = ReadonlyMap<Cell, BpeftError>;

async function runCells(
  cells: readonly Cell[],
  progress: Progress,
  { signal, onCell, onEvent }: CompareContext & { onEvent: Listener },
): Promise<Failures> {
  const failures = new Map<Cell, BpeftError>();
  const tell = isolated('onCell', onCell);
  const passOn = unended(onEvent);
  for (const [index, cell] of cells.entries()) {
    const open = cell.jobs.filter((job) => !progress.isDone(job));
    if (open.length === 0) continue;
    const { dataset, row: method, seed } = cell;
    tell({ dataset, method, seed, number: index + 1, of: cells.length });
    await mkdir(dirname(cell.result), { recursive: true });
    try {
      for (const job of open) {
        const done = await runJob(startable(job), { signal, onEvent: passOn });
        await progress.finish(job, done);
      }
    } catch (error) {
      if (!(error instanceof BpeftError)) throw error;
      if (error.code === 'BPEFT_ABORTED')
        throw abortError(signal, `stopped after ${index} of ${cells.length} cells`, GOES_ON);
      failures.set(cell, error);
      const message = `${cell.result}: ${error.message}`;
      onEvent({ type: 'warning', code: 'BPEFT_NOTICE', message });
    }
  }
  return failures;
}

/** Without how a run failed or was stopped: that is told once, of the comparison. */
function unended(onEvent: Listener): Listener {
  return (event) =>
    event.type === 'failed' || event.type === 'interrupted' ? undefined : onEvent(event);
}

/**
 * An unfinished training goes on from its checkpoint; anything else that was cut off starts over.
 */
function startable(job: Job): Job {
  const isLeft = job.command === 'train' && existsSync(new RunFolder(job.out).config);
  const again = job.command === 'train' ? { resume: isLeft } : { overwrite: true };
  return { ...job, options: { ...job.options, ...again } };
}

const GOES_ON = 'the same command goes on from here';

/** The first failure, and how many more there are. */
function failed(failures: Failures, of: number): BpeftError {
  const [[cell, error] = []] = failures;
  const message = `${failures.size} of ${of} cells failed: ${cell?.result}: ${error?.message}`;
  return new BpeftError(error?.code ?? 'BPEFT_INTERNAL', message, {
    hint: error?.hint ?? GOES_ON,
    cause: error,
  });
}
