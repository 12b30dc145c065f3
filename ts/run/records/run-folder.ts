/**
 * A run's folder. What people share (`config.json`, `result.json`) names no path of this machine;
 * where the model and the data lay is kept apart, in `state/paths.json`, so that `--resume` and
 * `--run` find them again.
 */

import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import type { Layer } from '../../config/parse.ts';
import { settingsOf } from '../../config/schema.ts';
import { affects, type CommandName } from '../../config/setting.ts';
import { isPath, shareableName } from '../../engine/model-source.ts';
import { BpeftError } from '../../errors.ts';
import { toCamelKeys } from '../../names.ts';
import { io, replaceJson } from './atomic.ts';
import { folderContents, RUN_NAMES, requireClaim } from './folder-contents.ts';
import { FolderLock, type LockOptions } from './lock.ts';

const RecordedRanks = z.object({ ranks: z.object({ size: z.int().min(1) }).nullish() });

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

  /**
   * @throws {BpeftError} `BPEFT_RUN_EXISTS`: the folder holds what the caller did not ask to touch.
   */
  requireFree(options: { overwrite: boolean; resume: boolean }): void {
    requireClaim(this.path, { kind: 'training', ...options });
  }

  /** Whether a training run lies here (or part of one). */
  get isRun(): boolean {
    return folderContents(this.path).kind === 'training';
  }

  /**
   * How many processes share the draws of a batch in the run that lies here; null: none does.
   * @throws {BpeftError} `BPEFT_USAGE`: its files are damaged.
   */
  async ranks(): Promise<number | null> {
    if (!existsSync(this.config)) return null;
    const recorded = RecordedRanks.safeParse(await readJson(this.config));
    if (recorded.success) return recorded.data.ranks?.size ?? 1;
    throw new BpeftError('BPEFT_USAGE', `${this.config}: what it says of ranks is damaged`);
  }

  /** Makes the folder, keeps others out, and removes an earlier run where that was asked for. */
  async open(
    options: { overwrite: boolean; resume: boolean },
    lock: LockOptions,
  ): Promise<FolderLock> {
    const taken = await FolderLock.take(this.path, lock);
    try {
      this.requireFree(options); // of what may have come in the meantime
      if (options.overwrite) await this.clear();
      await this.create();
      return taken;
    } catch (error) {
      await taken.release();
      throw error;
    }
  }

  /** Removes the run's own files, and nothing else. */
  async clear(): Promise<void> {
    await io(this.path, async () => {
      for (const name of RUN_NAMES)
        await rm(join(this.path, name), { recursive: true, force: true });
    });
  }

  async create(): Promise<void> {
    await io(this.path, async () => {
      await mkdir(this.state, { recursive: true });
    });
  }

  /** Remembers where the inputs lay. */
  async writePaths(config: object): Promise<void> {
    const place = (value: unknown) =>
      typeof value === 'string' && isPath(value) ? resolve(value) : value;
    const places: Record<string, unknown> = {};
    for (const { key, setting } of settingsOf('train')) {
      const value = (config as Readonly<Record<string, unknown>>)[key];
      if (value === undefined || !['name', 'place'].includes(setting.recorded)) continue;
      places[key] = Array.isArray(value) ? value.map(place) : place(value);
    }
    await replaceJson(this.#paths, places);
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
    return { origin: 'file', source: this.config, values: toCamelKeys({ ...recorded, ...paths }) };
  }
}

/**
 * Settings as a run records them: names instead of paths, nothing about this one invocation,
 * nothing that its method does not know.
 */
export function recordedSettings(command: CommandName, config: object): Record<string, unknown> {
  const values = config as Readonly<Record<string, unknown>>;
  const named = (value: unknown) => (typeof value === 'string' ? shareableName(value) : value);
  const recorded: Record<string, unknown> = {};
  for (const { key, setting } of settingsOf(command)) {
    const value = values[key];
    if (!['value', 'name'].includes(setting.recorded)) continue;
    if (values.method !== undefined && !affects(setting, command, values.method)) continue;
    if (setting.recorded === 'value') recorded[key] = value;
    else recorded[key] = Array.isArray(value) ? value.map(named) : named(value);
  }
  return recorded;
}

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
