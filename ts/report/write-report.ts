/** Reports of run folders, as texts and files. */

import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { BpeftError } from '../errors.ts';
import { io, replaceFile } from '../run/records/atomic.ts';
import { refuseDataFolder } from '../run/records/data-folder.ts';
import { fileJson } from '../run/records/json.ts';
import { refuseProtected } from '../run/records/protected.ts';
import { requireWritable } from '../run/records/writable.ts';
import { offThread } from '../threads/off-thread.ts';
import { CARD_MARK, calibrationCard } from './card.ts';
import { csvReport, markdownReport } from './markdown.ts';
import { type KnownRun, type ReportedRun, readRun } from './reported-run.ts';
import type { Report } from './run-report.ts';

export const REPORT_FORMATS = ['html', 'md', 'json', 'csv'] as const;
export type ReportFormat = (typeof REPORT_FORMATS)[number];

/**
 * What the folders hold, as numbers.
 * @throws {BpeftError} `BPEFT_USAGE`: a path is no folder of a run
 */
export async function readReport(
  folders: readonly string[],
  known: ReadonlyMap<string, KnownRun> = new Map(),
): Promise<Report> {
  return reported(await readRuns(folders, known));
}

/** By a thread of its own. */
function reported(runs: readonly ReportedRun[]): Promise<Report> {
  return offThread('report/report-worker', runs);
}

/** Folders of one name get that of the folder above them too. */
async function readRuns(
  folders: readonly string[],
  known: ReadonlyMap<string, KnownRun> = new Map(),
): Promise<ReportedRun[]> {
  const runs: ReportedRun[] = [];
  for (const folder of folders) runs.push(await readRun(folder, known.get(folder)));
  const count = (name: string) => runs.filter((run) => run.name === name).length;
  return runs.map((run) => {
    const longer = resolve(run.path).split(sep).slice(-2).join('/');
    return count(run.name) > 1 ? { ...run, name: longer } : run;
  });
}

export async function reportText(report: Report, format: ReportFormat): Promise<string> {
  switch (format) {
    case 'html':
      return (await import('./page/html.ts')).htmlReport(report);
    case 'md':
      return markdownReport(report);
    case 'csv':
      return csvReport(report);
    case 'json':
      return `${fileJson(report, 2)}\n`;
  }
}

/**
 * @throws {BpeftError} `BPEFT_RUN_EXISTS`: the file is there; `BPEFT_USAGE`: it is of a run, or
 * among rows
 */
export async function writeReport(
  path: string,
  text: string,
  { overwrite }: { overwrite: boolean },
): Promise<void> {
  if (existsSync(path) && !overwrite) {
    throw new BpeftError('BPEFT_RUN_EXISTS', `${path} exists already`, {
      hint: 'give another --out, or --overwrite',
    });
  }
  await refuseProtected(path, []);
  await refuseDataFolder(path, 'file');
  await requireWritable(path, 'file');
  await io(path, () => mkdir(dirname(path), { recursive: true }));
  await replaceFile(path, text);
}

/**
 * Writes `adapter/README.md` of a training run; evaluations of other folders are told beside its
 * own.
 * @returns the file
 * @throws {BpeftError} `BPEFT_USAGE`: not one training run with an adapter; `BPEFT_RUN_EXISTS`: a
 * card of somebody else
 */
export async function writeCard(
  folders: readonly string[],
  { overwrite }: { overwrite: boolean },
): Promise<string> {
  const runs = await readRuns(folders);
  const [trained, ...more] = runs.filter(({ path }) => existsSync(join(path, 'adapter')));
  if (trained === undefined || more.length > 0) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `a card needs one run with an adapter, got ${trained === undefined ? 0 : more.length + 1}`,
      {
        hint: 'name one training run, and folders of evaluations of it',
      },
    );
  }
  const path = join(trained.path, 'adapter', 'README.md');
  const isForeign = existsSync(path) && !(await readFile(path, 'utf8')).includes(CARD_MARK);
  if (isForeign && !overwrite) {
    throw new BpeftError(
      'BPEFT_RUN_EXISTS',
      `${path} was not written by bpeft and is not replaced`,
      {
        hint: 'move it away, or give --overwrite',
      },
    );
  }
  const { runs: reports } = await reported([trained, ...runs.filter((run) => run !== trained)]);
  const [own, ...others] = reports;
  if (own === undefined) return path;
  await replaceFile(
    path,
    calibrationCard(
      own,
      others.flatMap(({ evaluations }) => evaluations),
    ),
  );
  return path;
}
