/** One W&B run under way: a run's events as rows, media, output and system metrics. */

import { cpus, freemem, totalmem } from 'node:os';
import type { EvaluationDone, RunEvent } from '../events/run-event.ts';
import type { Outcome } from '../events/sinks.ts';
import { eventLines } from '../logging/lines.ts';
import { reliabilityPicture } from '../report/picture/reliability-picture.ts';
import { type EvaluationKey, evaluationKey, evaluationRow, posteriorRow, stepRow } from './keys.ts';
import type { LocalRun, RunWriter } from './local-run.ts';
import { imageMedia, type Media, tableMedia, writeMedia } from './media.ts';
import type { LoggedFile } from './records.ts';
import type { Row, RunIdentity } from './row.ts';

/** Least time between two samples of the machine's state. */
const STATS_EVERY_MS = 15_000;
/** As the shell says of a program that Ctrl-C ended. */
const EXIT_CODE = { finished: 0, failed: 1, aborted: 130 } as const;

export interface SessionOptions {
  readonly local: LocalRun;
  /** The server's side; null offline. */
  readonly remote: RunWriter | null;
  readonly run: RunIdentity;
}

export class WandbSession {
  readonly #local: LocalRun;
  readonly #writers: readonly RunWriter[];
  readonly #run: RunIdentity;
  readonly #start = performance.now();
  /** Media that is being written, in order. */
  #media: Promise<void> = Promise.resolve();
  #step: number;
  #first: EvaluationKey | null = null;
  #statsAt = Number.NEGATIVE_INFINITY;
  #cpu = process.cpuUsage();

  constructor({ local, remote, run }: SessionOptions) {
    this.#run = run;
    this.#local = local;
    this.#writers = remote === null ? [local] : [local, remote];
    this.#step = run.startingStep;
  }

  event(event: RunEvent): void {
    if (event.type === 'step') {
      this.#history({ ...stepRow(event), memory_rss_mb: process.memoryUsage.rss() / 2 ** 20 });
      this.#stats();
    } else if (event.type === 'posterior') {
      this.#history(posteriorRow(event));
    } else {
      if (event.type === 'evaluation') this.#evaluation(event);
      const lines = eventLines(event);
      for (const writer of this.#writers)
        for (const line of lines) writer.output(line, this.#now());
    }
  }

  /** Resolves when the run is whole on disk, and the server has all or was given up. */
  async close({ status }: Outcome): Promise<void> {
    await this.#media.catch(() => undefined);
    const seconds = this.#seconds();
    // The server takes up files that the local run writes last.
    for (const writer of this.#writers) await writer.finish(EXIT_CODE[status], seconds);
    await this.#media;
  }

  #evaluation(event: EvaluationDone): void {
    this.#first ??= evaluationKey(event);
    const media = this.#reliability(event);
    this.#history({
      ...evaluationRow(event, this.#first),
      ...Object.fromEntries(media.map(({ key, media: { value } }) => [key, value])),
    });
    const files = media.map(
      ({ media: { path } }): LoggedFile => ({ path, policy: 'now', type: 'media' }),
    );
    this.#media = this.#media.then(async () => {
      for (const one of media) await writeMedia(this.#local.filesFolder, one.media);
      for (const writer of this.#writers) writer.files(files);
    });
    this.#media.catch(() => undefined); // told by close
  }

  #reliability(event: EvaluationDone): { key: string; media: Media }[] {
    const { reliability } = event.result;
    if (reliability === null) return [];
    const prefix = evaluationKey(event) === this.#first ? '' : `${evaluationKey(event)}/`;
    const picture = reliabilityPicture(reliability);
    const { width, height } = picture;
    const [image, table] = [`${prefix}reliability`, `${prefix}reliability_table`];
    const columns = ['lower', 'upper', 'n', 'accuracy', 'confidence'] as const;
    const rows = reliability.map((bin) => columns.map((column) => bin[column]));
    return [
      { key: image, media: imageMedia(image, this.#step, { bytes: picture.png(), width, height }) },
      { key: table, media: tableMedia(table, this.#step, columns, rows) },
    ];
  }

  #history(values: Row): void {
    const row = {
      ...values,
      _step: this.#step,
      _runtime: this.#seconds(),
      _timestamp: this.#now() / 1000,
    };
    for (const writer of this.#writers) writer.history(row, this.#step);
    this.#step += 1;
  }

  #stats(): void {
    const now = performance.now();
    const elapsed = now - this.#statsAt;
    if (elapsed < STATS_EVERY_MS) return;
    const used = process.cpuUsage(this.#cpu);
    this.#cpu = process.cpuUsage();
    const rss = process.memoryUsage.rss();
    const values = {
      'proc.memory.rssMB': rss / 2 ** 20,
      'proc.memory.percent': (100 * rss) / totalmem(),
      'proc.memory.availableMB': freemem() / 2 ** 20,
      memory_percent: 100 * (1 - freemem() / totalmem()),
      ...(Number.isFinite(elapsed)
        ? { cpu: (used.user + used.system) / 10 / elapsed / cpus().length }
        : {}),
    };
    this.#statsAt = now;
    for (const writer of this.#writers) writer.stats(values, this.#now());
  }

  #seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  /** The time in ms by the clock at the start: it does not go back when the clock is set. */
  #now(): number {
    return this.#run.startTimeMs + 1000 * this.#seconds();
  }
}
