/**
 * The server's side of a run: lines are sent in order, some seconds' worth at a time, while the run
 * goes on.
 *
 * The run on disk is whole without it. Where the server stays away, refuses, or falls behind by
 * more than the queue holds, the rest is left to `wandb sync`, and people are told once.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credentials, ResumeMode } from '../environment.ts';
import { type LocalRun, RUN_FILES, type RunWriter } from '../local-run.ts';
import { jsonText, type LoggedFile } from '../records.ts';
import type { Row, RunIdentity } from '../row.ts';
import { type Patience, Unreachable } from './request.ts';
import { type Progress, type RunAddress, WandbServer } from './server.ts';

export interface RemoteTimes {
  /** Between two sendings. */
  readonly flushMs: number;
  /**
   * Without news for so long a sign of life is sent: the server takes a silent run for a crashed
   * one.
   */
  readonly heartbeatMs: number;
  /** For one answer. */
  readonly answerMs: number;
  /** First pause after a failure. */
  readonly pauseMs: number;
  /** While the run goes on, how long one batch is tried. */
  readonly batchMs: number;
  /** How long the end of the run waits for what is left. */
  readonly finishMs: number;
}

const TIMES: RemoteTimes = {
  ...{ flushMs: 2_000, heartbeatMs: 30_000, answerMs: 20_000, pauseMs: 500 },
  ...{ batchMs: 300_000, finishMs: 8_000 },
};

/** Lines that may wait: some hours of steps of a second each. */
const QUEUE_LINES = 20_000;

export interface RemoteRunOptions {
  readonly baseUrl: string;
  /** Asked once; what it throws is why the run goes on offline. */
  readonly credentials: () => Credentials | null;
  readonly initTimeoutMs: number;
  readonly resume: ResumeMode | null;
  readonly run: RunIdentity;
  readonly config: Row;
  readonly local: LocalRun;
  /** Tells people, at most once. */
  readonly tell: (message: string) => void;
  readonly times?: Partial<RemoteTimes>;
  readonly queueLines?: number;
}

/** Lines of a run's files by the server's names. */
const FILES = {
  history: 'wandb-history.jsonl',
  events: 'wandb-events.jsonl',
  output: 'output.log',
} as const;
type StreamedFile = keyof typeof FILES;

export class RemoteRun implements RunWriter {
  readonly #options: RemoteRunOptions;
  readonly #times: RemoteTimes;
  readonly #stop = new AbortController();
  readonly #sending: Promise<void>;
  #queue: Record<StreamedFile, string[]> = { history: [], events: [], output: [] };
  #offsets: Record<StreamedFile, number> = { history: 0, events: 0, output: 0 };
  /** Rows that the server has already, and what is added to `_step` of ours. */
  #skipTo = -1;
  #stepShift = 0;
  #files: LoggedFile[] = [];
  #exit: number | null = null;
  #finishBy = Number.POSITIVE_INFINITY;
  #isOver = false;
  #isComplete = false;
  /** Ends the pause between two sendings. */
  #wake: () => void = () => undefined;

  constructor(options: RemoteRunOptions) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
    this.files(RUN_FILES);
    this.#sending = this.#work().catch((error: unknown) => this.#giveUp(error));
  }

  /** Whether the server has everything, the end included. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  history(row: Row, _step: number): void {
    this.#put('history', jsonText(row));
  }

  stats(values: Readonly<Record<string, number>>, timeMs: number): void {
    const named = Object.entries(values).map(([key, value]) => [`system.${key}`, value]);
    const seconds = (timeMs - this.#options.run.startTimeMs) / 1000;
    const row = {
      ...Object.fromEntries(named),
      _wandb: true,
      _timestamp: timeMs / 1000,
      _runtime: seconds,
    };
    this.#put('events', jsonText(row));
  }

  output(line: string, timeMs: number): void {
    this.#put('output', `${new Date(timeMs).toISOString().slice(0, -1)} ${line}`);
  }

  files(files: readonly LoggedFile[]): void {
    if (!this.#isOver) this.#files.push(...files);
  }

  async finish(exitCode: number): Promise<void> {
    this.#exit = exitCode;
    this.#finishBy = performance.now() + this.#times.finishMs;
    const timer = setTimeout(() => this.#stop.abort(), this.#times.finishMs);
    this.#wake();
    await this.#sending;
    clearTimeout(timer);
  }

  #put(file: StreamedFile, line: string): void {
    if (this.#isOver) return;
    this.#queue[file].push(line);
    const limit = this.#options.queueLines ?? QUEUE_LINES;
    const waiting = Object.values(this.#queue).reduce((sum, lines) => sum + lines.length, 0);
    if (waiting <= limit) return;
    this.#giveUp(new Unreachable(`the server is more than ${limit} lines behind`));
    this.#stop.abort();
  }

  async #work(): Promise<void> {
    const { baseUrl, initTimeoutMs } = this.#options;
    const credentials = this.#options.credentials();
    if (credentials === null) {
      throw new Unreachable('no API key: set WANDB_API_KEY, or run wandb login');
    }
    const server = new WandbServer(baseUrl, credentials);
    const address = await this.#connect(server, this.#patience(initTimeoutMs));
    let sentAt = performance.now();
    while (!this.#isOver) {
      const exit = this.#exit;
      const patience = this.#patience(this.#times.batchMs);
      const uploaded = await this.#upload(server, address, patience);
      const batch = this.#batch();
      const isDue = performance.now() - sentAt >= this.#times.heartbeatMs;
      const end = exit === null ? {} : { complete: true, exitcode: exit };
      if (batch !== null || uploaded.length > 0 || isDue || exit !== null) {
        await server.stream(address, { files: batch ?? {}, uploaded, ...end }, patience);
        sentAt = performance.now();
      }
      if (exit !== null) {
        this.#isComplete = true;
        return;
      }
      await this.#pause();
    }
  }

  /** Makes the run on the server. @throws {Unreachable} also where the id is another run's */
  async #connect(server: WandbServer, patience: Patience): Promise<RunAddress> {
    const { resume, run, config } = this.#options;
    const progress = await server.progress(run, patience);
    if (progress === null && resume === 'must') {
      throw new Unreachable(
        `there is no run ${run.id} to go on with, which WANDB_RESUME=must asks for`,
      );
    }
    const mayGoOn = run.startingStep > 0 || (resume !== null && resume !== 'never');
    if (progress !== null && (!mayGoOn || resume === 'never')) {
      throw new Unreachable(
        `the server has a run ${run.id} already: set WANDB_RESUME=allow to go on with it, or another WANDB_RUN_ID`,
      );
    }
    if (progress !== null) this.#goOn(progress);
    return server.upsert(run, config, patience);
  }

  #goOn({ history, events, output, lastStep }: Progress): void {
    this.#offsets = { history, events, output };
    // A training that goes on repeats the rows since its checkpoint; another command adds rows of
    // its own.
    if (this.#options.run.startingStep > 0) this.#skipTo = lastStep;
    else this.#stepShift = lastStep + 1;
  }

  async #upload(server: WandbServer, address: RunAddress, patience: Patience): Promise<string[]> {
    const isDue = ({ policy }: LoggedFile) => policy === 'now' || this.#exit !== null;
    const due = this.#files.filter(isDue);
    this.#files = this.#files.filter((file) => !isDue(file));
    for (const { path } of due) {
      const bytes = await readFile(join(this.#options.local.filesFolder, path));
      await server.upload(address, { path, bytes }, patience);
    }
    return due.map(({ path }) => path);
  }

  /** What waits, as the file stream takes it; null: nothing. */
  #batch(): object | null {
    const queue = this.#queue;
    this.#queue = { history: [], events: [], output: [] };
    const rows = queue.history.map((line) => JSON.parse(line) as { _step: number });
    const content = rows
      .filter(({ _step }) => _step > this.#skipTo)
      .map((row) => jsonText({ ...row, _step: row._step + this.#stepShift }));
    const lines = { ...queue, history: content };
    const files: Record<string, object> = {};
    for (const file of Object.keys(FILES) as StreamedFile[]) {
      if (lines[file].length === 0) continue;
      files[FILES[file]] = { offset: this.#offsets[file], content: lines[file] };
      this.#offsets[file] += lines[file].length;
    }
    if (Object.keys(files).length === 0) return null;
    const summary = jsonText(this.#options.local.summary);
    return { ...files, 'wandb-summary.json': { offset: 0, content: [summary] } };
  }

  async #pause(): Promise<void> {
    if (this.#exit !== null) return;
    const { promise, resolve } = withResolver();
    this.#wake = resolve;
    const timer = setTimeout(resolve, this.#times.flushMs);
    await promise;
    clearTimeout(timer);
  }

  #patience(limitMs: number): Patience {
    const { answerMs, pauseMs } = this.#times;
    const limit = performance.now() + limitMs;
    const until = () => Math.min(limit, this.#finishBy);
    return { timeoutMs: answerMs, pauseMs, until, signal: this.#stop.signal };
  }

  #giveUp(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#queue = { history: [], events: [], output: [] };
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.tell(
      `W&B goes on offline, nothing is lost: ${reason}; later: wandb sync --include-online ${this.#options.local.path}`,
    );
  }
}

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
