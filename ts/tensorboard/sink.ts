/** A run's events as TensorBoard scalars, texts and pictures, in `<run folder>/tensorboard`. */

import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type {
  EvaluationDone,
  PosteriorSpread,
  RunEvent,
  RunStarted,
  StepDone,
} from '../events/run-event.ts';
import type { Outcome, Sink } from '../events/sinks.ts';
import { snakeCase } from '../names.ts';
import { reliabilityPicture } from '../report/picture/reliability-picture.ts';
import { fileJson } from '../run/records/json.ts';
import { EventFile, type SummaryValue } from './event-file.ts';

/** TensorBoard takes files with `tfevents` in their name; the ending says that one is ours. */
const OURS = /^events\.out\.tfevents\.\d+\.bpeft(\.\d+)?$/;

/** A sink that writes event files; a run without a folder has none. */
export function tensorboardSink(): Sink {
  return new TensorboardSink();
}

class TensorboardSink implements Sink {
  readonly name = 'TensorBoard';
  readonly #startMs = Date.now();
  readonly #start = performance.now();
  #opening: Promise<void> | null = null;
  #file: EventFile | null = null;
  #waiting: { values: readonly SummaryValue[]; step: number; timeMs: number }[] = [];

  event(event: RunEvent): Promise<void> | undefined {
    if (event.type === 'run-started' && event.out !== null && this.#opening === null) {
      this.#opening = this.#open(event, join(event.out, 'tensorboard'));
      return this.#opening;
    }
    if (this.#opening === null) return undefined;
    if (event.type === 'step') this.#write(stepValues(event), event.step);
    if (event.type === 'posterior') this.#write(posteriorValues(event), event.step);
    if (event.type === 'evaluation') this.#write(evaluationValues(event), event.step ?? 0);
    return undefined;
  }

  async close(_: Outcome): Promise<void> {
    await this.#opening?.catch(() => undefined); // told when it failed
    await this.#file?.close();
  }

  async #open({ record, resumedAt }: RunStarted, folder: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    if (resumedAt === null) {
      const before = (await readdir(folder)).filter((name) => OURS.test(name));
      for (const name of before) await rm(join(folder, name));
    }
    this.#file = await newFile(folder, this.#startMs);
    const config = `    ${fileJson(record.config, 2).replaceAll('\n', '\n    ')}`;
    this.#file.write([{ tag: 'config', text: config }], 0, this.#now());
    for (const { values, step, timeMs } of this.#waiting) this.#file.write(values, step, timeMs);
    this.#waiting = [];
  }

  #write(values: readonly SummaryValue[], step: number): void {
    if (this.#file === null) this.#waiting.push({ values, step, timeMs: this.#now() });
    else this.#file.write(values, step, this.#now());
  }

  /** The time in ms by the clock at the start: it does not go back when the clock is set. */
  #now(): number {
    return this.#startMs + performance.now() - this.#start;
  }
}

/** A file that nobody else has. */
async function newFile(folder: string, timeMs: number): Promise<EventFile> {
  const stem = join(folder, `events.out.tfevents.${Math.floor(timeMs / 1000)}.bpeft`);
  for (let number = 0; ; number += 1) {
    try {
      return await EventFile.create(number === 0 ? stem : `${stem}.${number}`, timeMs);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

function stepValues(event: StepDone): SummaryValue[] {
  return scalars({
    'train/nll': event.nll,
    'train/accuracy': event.accuracy,
    'train/lr': event.lr,
    'train/grad_norm': event.gradNorm,
    'train/tokens_per_s': event.ms > 0 ? (1000 * event.tokens) / event.ms : null,
    'train/step_ms': event.ms,
    'system/rss_mb': process.memoryUsage.rss() / 2 ** 20,
    'posterior/kl': event.kl,
    'posterior/kl_weight': event.klWeight,
    'posterior/kl_lr': event.klLr,
    'posterior/sigma_mean': event.sigmaMean,
  });
}

function posteriorValues({ fractions, layers }: PosteriorSpread): SummaryValue[] {
  return layers.flatMap(({ name, values }) =>
    values.map((scalar, index) => ({
      tag: `sigma_${percent(fractions[index] ?? 0)}/${name}`,
      scalar,
    })),
  );
}

/** `5`, `50`, `95` */
function percent(fraction: number): number {
  return Math.round(100 * fraction);
}

function evaluationValues({ result }: EvaluationDone): SummaryValue[] {
  const prefix = `${result.dataset}-${result.split}-n${result.samples}`;
  const named = (under: string, measures: Readonly<Record<string, number | null>>) =>
    Object.entries(measures).map(
      ([name, value]) => [`${under}/${snakeCase(name)}`, value] as const,
    );
  const { scaled } = result;
  const values = scalars(
    Object.fromEntries([
      ...named(prefix, { ...result.metrics, std: result.std }),
      ...(scaled === null
        ? []
        : named(`${prefix}-scaled`, { ...scaled.metrics, temperature: scaled.temperature })),
    ]),
  );
  if (result.reliability === null) return values;
  const picture = reliabilityPicture(result.reliability);
  const { width, height } = picture;
  return [...values, { tag: `${prefix}/reliability`, png: picture.png(), width, height }];
}

function scalars(values: Readonly<Record<string, number | null>>): SummaryValue[] {
  return Object.entries(values).flatMap(([tag, scalar]) =>
    scalar === null ? [] : [{ tag, scalar }],
  );
}
