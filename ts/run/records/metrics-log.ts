/**
 * `metrics.jsonl`: one line per step, evaluation and look at the posterior, cut back on resume to
 * where the checkpoint left it.
 */

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { BpeftError } from '../../errors.ts';
import type { RunEvent } from '../../events/run-event.ts';
import { AppendedFile } from '../../logging/appended-file.ts';
import { io, ioError } from './atomic.ts';
import { fileJson } from './json.ts';

export interface StepLine {
  readonly type: 'step';
  readonly step: number;
  readonly tokens: number;
  readonly ms: number;
}

export class MetricsLog {
  readonly #path: string;
  readonly #file: AppendedFile;
  #bytes: number;

  private constructor(path: string, file: AppendedFile, bytes: number) {
    this.#path = path;
    this.#file = file;
    this.#bytes = bytes;
  }

  /** Keeps the first `bytes` bytes of the file. */
  static async open(path: string, bytes: number): Promise<MetricsLog> {
    return new MetricsLog(path, await io(path, () => AppendedFile.open(path, bytes)), bytes);
  }

  /** Length of the file once all is written. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Appends the event's line, if it has one, without waiting for the disk. @throws what an earlier
   * line failed with
   */
  write(event: RunEvent): void {
    const line = metricsLine(event);
    if (line === null) return;
    const bytes = Buffer.from(`${fileJson(line)}\n`);
    try {
      this.#file.append(bytes);
    } catch (error) {
      throw ioError(this.#path, error);
    }
    this.#bytes += bytes.length;
  }

  /** Makes every line so far last. */
  flush(): Promise<void> {
    return io(this.#path, () => this.#file.flush());
  }

  close(): Promise<void> {
    return io(this.#path, () => this.#file.close());
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
export async function readLoggedSteps(path: string, bytes: number): Promise<LoggedSteps> {
  if (bytes === 0) return { steps: [], lines: 0 };
  const { size } = await io(path, () => stat(path));
  if (size < bytes) throw damaged(path, `must have ${bytes} bytes, got ${size}`);
  const input = createReadStream(path, { end: bytes - 1 });
  const steps: StepLine[] = [];
  let lines = 0;
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (text === '') continue;
    lines += 1;
    const line = parsedLine(path, text, lines);
    if (line.type === 'step') steps.push(line);
  }
  return { steps, lines };
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

function metricsLine(event: RunEvent): object | null {
  if (event.type === 'evaluation') {
    const { dataset, split, samples, metrics } = event.result;
    return { type: 'evaluation', step: event.step, dataset, split, samples, metrics };
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
  const { steps: _, ...line } = event;
  return { ...line, ms: Math.round(event.ms * 100) / 100 };
}
