/** `metrics.jsonl`: one line per step, evaluation and look at the posterior, cut back on resume to where the checkpoint left it. */

import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { BpeftError } from '../../errors.ts';
import type { RunEvent } from '../../events/run-event.ts';
import { ioError } from './atomic.ts';

export interface StepLine {
  readonly type: 'step';
  readonly step: number;
  readonly tokens: number;
  readonly ms: number;
}

export class MetricsLog {
  readonly #path: string;
  readonly #file: number;
  #bytes: number;

  /** Keeps the first `bytes` bytes of the file. */
  constructor(path: string, bytes: number) {
    this.#path = path;
    try {
      this.#file = openSync(path, 'a');
      ftruncateSync(this.#file, bytes);
    } catch (error) {
      throw ioError(path, error);
    }
    this.#bytes = bytes;
  }

  /** Length of the file. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Appends the event's line, if it has one. */
  write(event: RunEvent): void {
    const line = metricsLine(event);
    if (line === null) return;
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    try {
      for (let written = 0; written < bytes.length; ) {
        written += writeSync(this.#file, bytes, written);
      }
    } catch (error) {
      throw ioError(this.#path, error);
    }
    this.#bytes += bytes.length;
  }

  /** Makes every line so far last. */
  flush(): void {
    try {
      fsyncSync(this.#file);
    } catch (error) {
      throw ioError(this.#path, error);
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

export interface LoggedSteps {
  readonly steps: readonly StepLine[];
  /** Lines of every kind. */
  readonly lines: number;
}

/**
 * What the first `bytes` bytes hold.
 * @throws {BpeftError} `BPEFT_CHECKPOINT`: the file is shorter, or holds something else.
 */
export function readLoggedSteps(path: string, bytes: number): LoggedSteps {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (error) {
    if (bytes === 0) return { steps: [], lines: 0 };
    throw ioError(path, error);
  }
  if (content.length < bytes) throw damaged(path, `must have ${bytes} bytes, got ${content.length}`);
  const lines = content
    .toString('utf8', 0, bytes)
    .split('\n')
    .filter((line) => line !== '')
    .map((line, index) => parsedLine(path, line, index + 1));
  return { steps: lines.filter(({ type }) => type === 'step'), lines: lines.length };
}

function parsedLine(path: string, text: string, line: number): StepLine {
  try {
    return JSON.parse(text) as StepLine;
  } catch (cause) {
    throw damaged(path, `line ${line} is no JSON`, cause);
  }
}

function damaged(path: string, reason: string, cause?: unknown): BpeftError {
  return new BpeftError('BPEFT_CHECKPOINT', `${path}: ${reason}`, {
    hint: 'the file was changed after the checkpoint: start over with --overwrite',
    cause,
  });
}

/** Infinity and NaN become text, so that every line is JSON. */
function finite(value: number | null): number | string | null {
  return value === null || Number.isFinite(value) ? value : String(value);
}

function metricsLine(event: RunEvent): object | null {
  if (event.type === 'evaluation') {
    const { dataset, split, samples, metrics } = event.result;
    const values = Object.entries<number | null>({ ...metrics }).map(([key, value]) => [key, finite(value)]);
    return {
      type: 'evaluation',
      step: event.step,
      dataset,
      split,
      samples,
      metrics: Object.fromEntries(values),
    };
  }
  if (event.type === 'posterior') {
    const { type, step, fractions, layers } = event;
    return {
      type,
      step,
      fractions,
      sigma: Object.fromEntries(layers.map(({ name, values }) => [name, values])),
    };
  }
  if (event.type !== 'step') return null;
  return {
    type: 'step',
    step: event.step,
    nll: event.nll,
    kl: event.kl,
    kl_weight: event.klWeight,
    accuracy: event.accuracy,
    lr: event.lr,
    kl_lr: event.klLr,
    sigma_mean: event.sigmaMean,
    grad_norm: event.gradNorm,
    tokens: event.tokens,
    ms: Math.round(event.ms * 100) / 100,
  };
}
