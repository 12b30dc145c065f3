/** Probabilities for the rows of one input: loads, answers row by row, frees. */

import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { PredictOptions } from '../../config/schema.ts';
import { fileOf } from '../../config/standard-output.ts';
import { abortError, BpeftError } from '../../errors.ts';
import { type Outcome, Sinks, toldOutcome } from '../../events/sinks.ts';
import type { RunContext } from '../inputs/context.ts';
import { io } from '../records/atomic.ts';
import { refuseDataFolder } from '../records/data-folder.ts';
import { fileJson } from '../records/json.ts';
import { refuseProtected } from '../records/protected.ts';
import { requireWritable } from '../records/writable.ts';
import type { Prediction, RefusedRow } from './answer.ts';
import { asInput, type PredictInput, type PredictRows } from './input.ts';
import { type PredictorPlan, planPredictor } from './plan.ts';
import { loadPredictor } from './predictor.ts';

/**
 * One answer per input row, in order.
 * @throws {BpeftError} what {@link predictStream} throws, and what is wrong with the first row that
 *   cannot be answered, unless `badRows` is `skip`
 */
export async function predict(
  options: PredictOptions,
  input: PredictInput | PredictRows,
  context: RunContext = {},
): Promise<Prediction[]> {
  const answers: Prediction[] = [];
  for await (const line of predictStream(options, input, context)) {
    if ('error' in line) throw refusedRow(line);
    answers.push(line);
  }
  return answers;
}

/**
 * Answers in the order of the rows, as they are ready, in constant memory; with `out` each is
 * written there before it is handed out, so that what was answered is on disk whatever ends the
 * work. `-` is no file: the answers are handed out alone.
 *
 * A row that cannot be answered has a {@link RefusedRow} in its place, or none with `badRows:
 * 'skip'`.
 *
 * @throws {BpeftError} before any work: `BPEFT_IO`, `out` cannot be written; `BPEFT_USAGE`, it is
 *   an input or belongs to a run, or `input` is neither rows nor a file's; `BPEFT_RUN_EXISTS`, it is
 *   there and `overwrite` is not given. After it: what is wrong with the first row, if none could be
 *   answered.
 */
export async function* predictStream(
  options: PredictOptions,
  input: PredictInput | PredictRows,
  context: RunContext = {},
): AsyncGenerator<Prediction | RefusedRow, void, undefined> {
  const { signal } = context;
  const read = asInput(input);
  const out = fileOf(options.out);
  const count = { answered: 0, refused: 0, first: null as BpeftError | null };
  const sinks = new Sinks([context.onEvent]);
  let outcome: Outcome = { status: 'finished' };
  try {
    if (out !== undefined) await requireWritable(out, 'file');
    const plan = await planPredictor(options, context, sinks.event);
    if (out !== undefined) await requireFree(out, plan, read);
    await using predictor = await loadPredictor(plan, context, new Sinks([sinks.event]));
    await using file = new AnswerFile(out, plan.config.overwrite);
    for await (const batch of predictor.batches(read, context)) {
      const kept =
        plan.config.badRows === 'skip' ? batch.filter(({ error }) => error === null) : batch;
      for (const { error } of batch) {
        if (error === null) count.answered += 1;
        else {
          count.refused += 1;
          count.first ??= error;
        }
      }
      await file.write(kept.map(({ line }) => `${fileJson(line)}\n`).join(''));
      for (const { line } of kept) yield line;
    }
    await file.write(''); // one without rows is there all the same
    if (count.first === null) return;
    if (count.answered === 0) throw count.first;
    const rows = `${count.refused} of ${count.refused + count.answered} rows`;
    const message = `${rows} could not be answered; the first: ${count.first.message}`;
    sinks.event({ type: 'warning', code: 'BPEFT_BAD_ROWS', message });
  } catch (error) {
    const ended = signal?.aborted === true ? interrupted(signal, count, out) : error;
    outcome = toldOutcome(sinks, ended);
    throw ended;
  } finally {
    await sinks.close(outcome);
  }
}

function interrupted(
  signal: AbortSignal,
  { answered, refused }: { answered: number; refused: number },
  out: string | undefined,
): BpeftError {
  const place = out === undefined || answered === 0 ? undefined : `their answers are in ${out}`;
  return abortError(signal, `interrupted after ${answered + refused} rows`, place);
}

/** Lines on disk as they come; the file is made, or an old one emptied, by the first of them. */
class AnswerFile implements AsyncDisposable {
  readonly #path: string | undefined;
  readonly #replaces: boolean;
  #file: FileHandle | null = null;

  constructor(path: string | undefined, replaces: boolean) {
    this.#path = path;
    this.#replaces = replaces;
  }

  async write(lines: string): Promise<void> {
    const path = this.#path;
    if (path === undefined) return;
    await io(path, async () => {
      await mkdir(dirname(path), { recursive: true });
      this.#file ??= await open(path, this.#replaces ? 'w' : 'wx');
      await this.#file.appendFile(lines);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const file = this.#file;
    if (file === null) return;
    await io(this.#path ?? '', async () => {
      try {
        await file.sync();
      } finally {
        await file.close();
      }
    });
  }
}

async function requireFree(out: string, plan: PredictorPlan, input: PredictInput): Promise<void> {
  const { config, place } = plan;
  await refuseProtected(out, [
    { what: 'the input', path: input.path },
    { what: 'the model', path: config.model, isWhole: true },
    { what: 'the adapter', path: place.folder, isWhole: true },
    { what: 'the dataset', path: config.dataset },
  ]);
  await refuseDataFolder(out, 'file');
  if (config.overwrite || !existsSync(out)) return;
  throw new BpeftError('BPEFT_RUN_EXISTS', `${out} is already there`, {
    hint: 'give another --out, or --overwrite',
  });
}

function refusedRow({ error: { code, message, hint } }: RefusedRow): BpeftError {
  return new BpeftError(code, message, { hint: hint ?? undefined });
}
