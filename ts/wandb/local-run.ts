/**
 * A W&B run on disk, as the client lays it out and `wandb sync` takes it up:
 *
 * ```text
 * <dir>/wandb/[offline-]run-<YYYYMMDD_HHMMSS>-<id>/
 *   run-<id>.wandb     every record, in order
 *   files/             config.yaml, wandb-metadata.json, requirements.txt, …, media/
 * ```
 */

import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import {
  exitRecord,
  filesRecord,
  headerRecord,
  historyRecord,
  jsonText,
  type LoggedFile,
  outputRecord,
  runRecord,
  statsRecord,
  summaryRecord,
} from './records.ts';
import type { Row, RunIdentity } from './row.ts';
import { TransactionLog } from './transaction-log.ts';

/** What a run is written to. */
export interface RunWriter {
  history(row: Row, step: number): void;
  stats(values: Readonly<Record<string, number>>, timeMs: number): void;
  output(line: string, timeMs: number): void;
  /** Files that lie below `files/` by now. */
  files(files: readonly LoggedFile[]): void;
  finish(exitCode: number, seconds: number): Promise<void>;
}

export interface LocalRunOptions {
  /** The folder that holds `wandb/`. */
  readonly dir: string;
  readonly isOnline: boolean;
  readonly run: RunIdentity;
  readonly config: Readonly<Record<string, unknown>>;
  /** `wandb-metadata.json`. */
  readonly metadata: object;
  /** `requirements.txt`: what the run was made with. */
  readonly versions: Readonly<Record<string, string>>;
}

/** What every run has below `files/`. */
export const RUN_FILES: readonly LoggedFile[] = [
  { path: 'config.yaml', policy: 'end', type: 'wandb' },
  { path: 'wandb-metadata.json', policy: 'now', type: 'wandb' },
  { path: 'requirements.txt', policy: 'now', type: 'wandb' },
  { path: 'wandb-summary.json', policy: 'end', type: 'wandb' },
];

export class LocalRun implements RunWriter {
  readonly path: string;
  readonly #log: TransactionLog;
  readonly #summary: Record<string, unknown> = {};

  private constructor(path: string, log: TransactionLog) {
    this.path = path;
    this.#log = log;
  }

  /** Makes the folder and writes what is known at the start. @throws what the file system says */
  static async create(options: LocalRunOptions): Promise<LocalRun> {
    const { dir, isOnline, run, config, metadata, versions } = options;
    const path = await newFolder(join(dir, 'wandb'), isOnline ? 'run' : 'offline-run', run);
    const files = join(path, 'files');
    await mkdir(files);
    await mkdir(join(path, 'logs'));
    const values = Object.entries(config).map(([key, value]) => [key, { value }]);
    const configYaml = stringify({ wandb_version: 1, ...Object.fromEntries(values) });
    await writeFile(join(files, 'config.yaml'), configYaml);
    await writeFile(join(files, 'wandb-metadata.json'), `${JSON.stringify(metadata, null, 2)}\n`);
    const requirements = Object.entries(versions).map(([name, version]) => `${name}==${version}\n`);
    await writeFile(join(files, 'requirements.txt'), requirements.join(''));
    const log = await TransactionLog.create(join(path, `run-${run.id}.wandb`));
    const local = new LocalRun(path, log);
    log.write([headerRecord(), runRecord(run, config)]);
    local.files(RUN_FILES);
    return local;
  }

  get filesFolder(): string {
    return join(this.path, 'files');
  }

  /** The last value of each key so far. */
  get summary(): Row {
    return this.#summary;
  }

  history(row: Row, step: number): void {
    Object.assign(this.#summary, row);
    this.#log.write([summaryRecord(row), historyRecord(row, step)]);
  }

  stats(values: Readonly<Record<string, number>>, timeMs: number): void {
    this.#log.write([statsRecord(values, timeMs)]);
  }

  output(line: string, timeMs: number): void {
    this.#log.write([outputRecord(line, timeMs)]);
  }

  files(files: readonly LoggedFile[]): void {
    this.#log.write([filesRecord(files)]);
  }

  async finish(exitCode: number, seconds: number): Promise<void> {
    const runtime = { _wandb: { runtime: Math.round(seconds) } };
    Object.assign(this.#summary, runtime);
    await writeFile(join(this.filesFolder, 'wandb-summary.json'), `${jsonText(this.#summary)}\n`);
    this.#log.write([summaryRecord(runtime), exitRecord(exitCode, seconds)]);
    await this.#log.close();
  }
}

/** A folder that nobody else has: a second run of one id in the same second takes the next one. */
async function newFolder(parent: string, kind: string, run: RunIdentity): Promise<string> {
  await mkdir(parent, { recursive: true });
  for (let time = run.startTimeMs; ; time += 1000) {
    const name = `${kind}-${stamp(new Date(time))}-${run.id}`;
    try {
      await mkdir(join(parent, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
      throw error;
    }
    await linkLatest(parent, name);
    return join(parent, name);
  }
}

/** `latest-run`; where links are not to be had there is none. */
async function linkLatest(parent: string, name: string): Promise<void> {
  const link = join(parent, 'latest-run');
  const temporary = await mkdtemp(join(parent, '.latest-'));
  try {
    await symlink(name, join(temporary, 'link'));
    await rename(join(temporary, 'link'), link);
  } catch {
    // A convenience only.
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** `YYYYMMDD_HHMMSS`, local time. */
function stamp(time: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${time.getFullYear()}${two(time.getMonth() + 1)}${two(time.getDate())}`;
  return `${day}_${two(time.getHours())}${two(time.getMinutes())}${two(time.getSeconds())}`;
}
