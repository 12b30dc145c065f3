/**
 * A run's folder. What people share (`config.json`, `result.json`) names no path of this machine; where the model
 * and the data lay is kept apart, in `state/paths.json`, so that `--resume` and `--run` find them again.
 */

import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isPath, shareableName } from '../config/model-source.ts';
import { camelCase, toSnakeKeys } from '../config/names.ts';
import type { Layer } from '../config/parse.ts';
import { BpeftError } from '../errors.ts';
import { io, replaceJson } from './atomic.ts';

export class RunFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get config(): string {
    return join(this.path, 'config.json');
  }
  get metrics(): string {
    return join(this.path, 'metrics.jsonl');
  }
  get result(): string {
    return join(this.path, 'result.json');
  }
  get adapter(): string {
    return join(this.path, 'adapter');
  }
  get state(): string {
    return join(this.path, 'state');
  }
  get log(): string {
    return join(this.path, 'log.txt');
  }
  get predictions(): string {
    return join(this.path, 'predictions');
  }
  get #paths(): string {
    return join(this.state, 'paths.json');
  }
  get #own(): readonly string[] {
    return [this.config, this.metrics, this.result, this.adapter, this.state, this.log, this.predictions];
  }

  /** Whether the folder holds (part of) a run. */
  get isUsed(): boolean {
    return this.#own.some((path) => existsSync(path));
  }

  /** @throws {BpeftError} `BPEFT_RUN_EXISTS`: the folder holds a run that the caller did not ask to touch. */
  refuseIfUsed(options: { overwrite: boolean; resume?: boolean }): void {
    if (options.overwrite) this.#refuseForeign();
    if (!this.isUsed || options.overwrite || options.resume === true) return;
    throw new BpeftError('BPEFT_RUN_EXISTS', `${this.path} already holds a run`, {
      hint:
        options.resume === undefined
          ? 'give another --out, or --overwrite'
          : 'add --resume or --overwrite, or give another --out',
    });
  }

  /** A project's own `config.json`, say, is not to be replaced. */
  #refuseForeign(): void {
    const foreign = [this.config, this.result].find((path) => existsSync(path) && !isRecord(path));
    if (foreign === undefined) return;
    throw new BpeftError('BPEFT_RUN_EXISTS', `${foreign} was not written by bpeft and is not replaced`, {
      hint: 'give another --out, or move that file away',
    });
  }

  /** Removes the run's own files, and nothing else. */
  async clear(): Promise<void> {
    await io(this.path, async () => {
      for (const path of this.#own) await rm(path, { recursive: true, force: true });
    });
  }

  /**
   * Keeps other processes out until the returned function is called; a lock whose process has died is taken over.
   * @throws {BpeftError} `BPEFT_RUN_EXISTS`: a living process writes here.
   */
  async lock(): Promise<() => Promise<void>> {
    const path = join(this.path, '.lock');
    await io(path, () => mkdir(this.path, { recursive: true }));
    const holder = await readFile(path, 'utf8').catch(() => null);
    if (holder !== null) {
      if (isAlive(Number(holder))) {
        throw new BpeftError('BPEFT_RUN_EXISTS', `process ${holder.trim()} is writing to ${this.path}`, {
          hint: `wait for it, or remove ${path} if it is none of bpeft's`,
        });
      }
      await io(path, () => rm(path, { force: true }));
    }
    await io(path, () => writeFile(path, `${process.pid}\n`, { flag: 'wx' }));
    return () => rm(path, { force: true });
  }

  async create(): Promise<void> {
    await io(this.path, async () => {
      await mkdir(this.state, { recursive: true });
    });
  }

  /** Remembers where the inputs lay. */
  async writePaths(config: object): Promise<void> {
    const settings = config as Readonly<Record<string, unknown>>;
    const place = (value: unknown) => (typeof value === 'string' && isPath(value) ? resolve(value) : value);
    const places: Record<string, unknown> = {};
    for (const key of [...PATH_SETTINGS, 'dataDir']) {
      const value = settings[key];
      if (value !== undefined) places[key] = Array.isArray(value) ? value.map(place) : place(value);
    }
    await replaceJson(this.#paths, toSnakeKeys(places));
  }

  /**
   * The run's own settings as a layer below file and flags.
   * @throws {BpeftError} `BPEFT_USAGE`: no run there, or its files are damaged.
   */
  async settings(): Promise<Layer> {
    const record = await readJson(this.config);
    const recorded = record.config;
    if (record.format !== 1 || typeof recorded !== 'object' || recorded === null) {
      throw new BpeftError('BPEFT_USAGE', `${this.config} is no run configuration of format 1`);
    }
    const paths = existsSync(this.#paths) ? await readJson(this.#paths) : {};
    const values: Record<string, unknown> = {};
    for (const [key, value] of Object.entries({ ...recorded, ...paths })) values[camelCase(key)] = value;
    return { origin: 'file', source: this.config, values };
  }
}

/** Whether a JSON file has the mark of a run's records. */
function isRecord(path: string): boolean {
  try {
    const content = JSON.parse(readFileSync(path, 'utf8')) as { format?: unknown } | null;
    return typeof content?.format === 'number';
  } catch {
    return false;
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Settings as a run records them: `snake_case`, names instead of paths, nothing about this one invocation. */
export function recordedSettings(config: object): Record<string, unknown> {
  const { out, run, resume, overwrite, dryRun, dataDir, ...kept } = config as Record<string, unknown>;
  const shared: Record<string, unknown> = { ...kept };
  for (const key of PATH_SETTINGS) {
    const value = shared[key];
    if (typeof value === 'string') shared[key] = shareableName(value);
    if (Array.isArray(value)) shared[key] = value.map((item) => shareableName(String(item)));
  }
  return toSnakeKeys(shared);
}

const PATH_SETTINGS = ['model', 'dataset', 'evalDataset', 'initAdapter', 'adapter'] as const;

async function readJson(path: string): Promise<Record<string, unknown>> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpeftError('BPEFT_USAGE', `cannot read ${path}: ${reason}`, {
      hint: 'name the folder of a bpeft run',
      cause,
    });
  }
}
