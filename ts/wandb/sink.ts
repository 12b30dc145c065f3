/**
 * Weights & Biases as a sink: the run on disk in W&B's own format always, and on the server where
 * WANDB_MODE is online and while it answers. All settings are W&B's environment variables.
 */

import { randomInt } from 'node:crypto';
import { cpus, release } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { RunEvent, RunStarted } from '../events/run-event.ts';
import type { Outcome, Sink } from '../events/sinks.ts';
import { toSnakeKeys } from '../names.ts';
import { replaceJson } from '../run/records/atomic.ts';
import { credentials, type WandbSettings, wandbSettings } from './environment.ts';
import { LocalRun } from './local-run.ts';
import { RemoteRun } from './online/remote-run.ts';
import type { RunIdentity } from './row.ts';
import { WandbSession } from './session.ts';
import { readStoredRun, type StoredRun } from './stored-run.ts';

export interface WandbSinkOptions {
  /** Where the WANDB_* variables come from; the process's own unless given. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Told what people should know; to standard error unless given or WANDB_SILENT. */
  readonly tell?: (message: string) => void;
}

/**
 * A sink that writes a W&B run.
 * @throws {BpeftError} `BPEFT_USAGE`: a WANDB_* variable has a value that it cannot have
 */
export function wandbSink(options: WandbSinkOptions = {}): Sink {
  const environment = options.environment ?? process.env;
  return new WandbSink(wandbSettings(environment), environment, options.tell ?? toStandardError);
}

class WandbSink implements Sink {
  readonly name = 'Weights & Biases';
  readonly #settings: WandbSettings;
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #tell: (message: string) => void;
  #opening: Promise<void> | null = null;
  #session: WandbSession | null = null;
  #hasFailed = false;
  /** What happens until the run is open. */
  #waiting: RunEvent[] = [];
  #folder = '';

  constructor(
    settings: WandbSettings,
    environment: Readonly<Record<string, string | undefined>>,
    tell: (message: string) => void,
  ) {
    this.#settings = settings;
    this.#environment = environment;
    this.#tell = settings.isSilent ? () => undefined : tell;
  }

  event(event: RunEvent): Promise<void> | undefined {
    if (this.#settings.mode === 'disabled' || this.#hasFailed) return undefined;
    if (event.type === 'run-started' && this.#opening === null) {
      this.#waiting.push(event);
      this.#opening = this.#open(event);
      return this.#opening;
    }
    if (this.#session === null) this.#waiting.push(event);
    else this.#write(this.#session, event);
    return undefined;
  }

  async close(outcome: Outcome): Promise<void> {
    await this.#opening?.catch(() => undefined); // told when it failed
    if (this.#session === null || this.#hasFailed) return;
    await this.#session.close(outcome);
    // Online, a run that could not be sent has said so.
    if (this.#settings.mode !== 'offline' || this.#settings.isQuiet) return;
    this.#tell(`W&B run written; to upload it: wandb sync ${this.#folder}`);
  }

  async #open(event: RunStarted): Promise<void> {
    try {
      const { run, stored } = await this.#identity(event);
      const isOnline = this.#settings.mode === 'online';
      const config = runConfig(event);
      const dir = this.#settings.dir ?? event.out ?? '.';
      const metadata = runMetadata(event, run.startTimeMs);
      const { versions } = event.record;
      const local = await LocalRun.create({
        ...{ dir: resolve(dir), isOnline, run, config, metadata, versions: { ...versions } },
      });
      this.#folder = local.path;
      const remote = isOnline ? this.#remote(run, config, local) : null;
      if (stored !== null) await replaceJson(stored.path, stored.run);
      this.#session = new WandbSession({ local, remote, run });
      for (const waiting of this.#waiting) this.#write(this.#session, waiting);
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    } finally {
      this.#waiting = [];
    }
  }

  #write(session: WandbSession, event: RunEvent): void {
    try {
      session.event(event);
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    }
  }

  #remote(run: RunIdentity, config: Readonly<Record<string, unknown>>, local: LocalRun): RemoteRun {
    const { baseUrl, initTimeoutMs, resume } = this.#settings;
    return new RemoteRun({
      baseUrl,
      credentials: () => credentials(this.#environment, baseUrl),
      initTimeoutMs,
      resume,
      run,
      config,
      local,
      tell: this.#tell,
    });
  }

  /** Who the run is; one that goes on keeps its id. */
  async #identity(event: RunStarted): Promise<{
    run: RunIdentity;
    stored: { path: string; run: StoredRun } | null;
  }> {
    const settings = this.#settings;
    const path =
      event.command === 'train' && event.out !== null
        ? join(event.out, 'state', 'wandb.json')
        : null;
    const goesOn = event.resumedAt !== null || settings.resume === 'auto';
    const before = path !== null && goesOn ? await readStoredRun(path) : null;
    const id = settings.runId ?? before?.id ?? newId();
    const run: RunIdentity = {
      id,
      project: settings.project,
      entity: settings.entity,
      name: settings.name ?? (event.out === null ? id : basename(resolve(event.out))),
      notes: settings.notes,
      tags: settings.tags,
      group: settings.group,
      jobType: settings.jobType ?? event.command,
      sweepId: settings.sweepId,
      startingStep: event.logged,
      startTimeMs: Date.now(),
    };
    return { run, stored: path === null ? null : { path, run: { id } } };
  }
}

/**
 * Settings at the top, as the reference logs its arguments; what else a run records below `bpeft`.
 */
function runConfig({ record, method }: RunStarted): Readonly<Record<string, unknown>> {
  const { config, format: _, ...rest } = record;
  return toSnakeKeys({ method, ...config, bpeft: rest });
}

/** `wandb-metadata.json`: with what the run was made. */
function runMetadata({ record }: RunStarted, startTimeMs: number): object {
  return {
    os: `${process.platform}-${release()}-${process.arch}`,
    startedAt: new Date(startTimeMs).toISOString(),
    program: 'bpeft',
    cpu_count: cpus().length,
    versions: record.versions,
    hardware: toSnakeKeys(record.hardware),
  };
}

const ID_LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** Eight letters and digits, as the client makes them. */
function newId(): string {
  return Array.from({ length: 8 }, () => ID_LETTERS[randomInt(ID_LETTERS.length)]).join('');
}

function toStandardError(message: string): void {
  process.stderr.write(`${message}\n`);
}
