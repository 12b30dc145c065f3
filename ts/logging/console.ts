/** Progress on stderr: one bar that stays in place on a terminal, plain lines elsewhere. */

import type { RunEvent, StepDone } from '../events/run-event.ts';
import type { Sink } from '../events/sinks.ts';
import { duration, eventLines, stepLine } from './lines.ts';

/** What the console needs of a stream; `process.stderr` is one. */
export interface TextStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

const BAR_WIDTH = 24;
/** Plain lines: at most so many for the steps of one run. */
const PLAIN_STEP_LINES = 50;
/** Weight of the newest step in the mean step time. */
const SMOOTHING = 0.1;

export function consoleSink(stream: TextStream): Sink {
  return stream.isTTY === true ? new ProgressBar(stream) : plainSink(stream);
}

function plainSink(stream: TextStream): Sink {
  return {
    name: 'the console',
    event: (event) => {
      if (event.type === 'step' && !isShown(event)) return;
      for (const line of eventLines(event)) stream.write(`${line}\n`);
    },
  };
}

function isShown({ step, steps }: StepDone): boolean {
  return step === 1 || step === steps || step % Math.max(1, Math.ceil(steps / PLAIN_STEP_LINES)) === 0;
}

class ProgressBar implements Sink {
  readonly name = 'the console';
  readonly #stream: TextStream;
  #meanMs: number | null = null;
  #isOpen = false;

  constructor(stream: TextStream) {
    this.#stream = stream;
  }

  event(event: RunEvent): void {
    switch (event.type) {
      case 'step':
        this.#meanMs =
          this.#meanMs === null ? event.ms : this.#meanMs + SMOOTHING * (event.ms - this.#meanMs);
        this.#draw(event.step / event.steps, this.#stepText(event, this.#meanMs));
        break;
      case 'evaluation-progress':
        this.#draw(
          event.done / event.rows,
          `${event.dataset} ${event.split}  ${event.done}/${event.rows} rows`,
        );
        break;
      case 'checkpoint':
        break;
      default:
        this.#clear();
        for (const line of eventLines(event)) this.#stream.write(`${line}\n`);
    }
  }

  #stepText(event: StepDone, meanMs: number): string {
    const left = ((event.steps - event.step) * meanMs) / 1000;
    return `${stepLine(event, { short: true })}  ${duration(left)} left`;
  }

  #draw(fraction: number, text: string): void {
    // The numbers matter more than the bar: it takes what a narrow terminal leaves.
    const columns = (this.#stream.columns ?? 120) - 1;
    const width = Math.max(0, Math.min(BAR_WIDTH, columns - text.length - 3));
    const full = Math.min(width, Math.round(fraction * width));
    const bar = width === 0 ? '' : `[${'#'.repeat(full)}${'-'.repeat(width - full)}] `;
    const line = `${bar}${text}`.slice(0, columns);
    this.#stream.write(`\r\u001b[2K${line}`);
    this.#isOpen = true;
  }

  #clear(): void {
    if (this.#isOpen) this.#stream.write('\r\u001b[2K');
    this.#isOpen = false;
  }
}
