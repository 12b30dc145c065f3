/** Progress on stderr: one bar that stays in place on a terminal, plain lines elsewhere. */

import { styleText } from 'node:util';
import type { RunEvent, StepDone } from '../events/run-event.ts';
import type { Sink } from '../events/sinks.ts';
import type { EvaluationResult } from '../run/records/result.ts';
import { finalLines } from './final-table.ts';
import { duration, eventLines, stepLine } from './lines.ts';
import { Sparkline } from './sparkline.ts';

/** What the console needs of a stream; `process.stderr` is one. */
export interface TextStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** Of a terminal that does not say its width. */
const USUAL_COLUMNS = 120;
const BAR_WIDTH = 24;
const CURVE_WIDTH = 16;
/** Plain lines: at most so many for the steps of one run. */
const PLAIN_STEP_LINES = 50;
/** Weight of the newest step in the mean step time. */
const SMOOTHING = 0.1;
/** Least time between two drawings of the bar. */
const DRAW_EVERY_MS = 50;

export interface ConsoleOptions {
  /** Plain lines also on a terminal; so it is where CI is set. */
  readonly isPlain?: boolean | undefined;
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
}

export function consoleSink(stream: TextStream, options: ConsoleOptions = {}): Sink {
  const { environment = process.env } = options;
  return isLive(stream, options)
    ? new ProgressBar(stream, !isSet(environment.NO_COLOR))
    : plainSink(stream);
}

/** What is no progress, and must be seen by whoever wants none. */
export function warningSink(stream: TextStream): Sink {
  return {
    name: 'the console',
    event: (event) => {
      if (event.type !== 'warning') return;
      for (const line of eventLines(event)) stream.write(`${line}\n`);
    },
  };
}

/** Whether lines can be drawn over. */
export function isLive(
  stream: TextStream,
  { isPlain = false, environment = process.env }: ConsoleOptions = {},
): boolean {
  return stream.isTTY === true && !isPlain && !isSet(environment.CI) && environment.TERM !== 'dumb';
}

/** As for NO_COLOR: any text but the empty one; CI=false is none. */
function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== 'false';
}

function plainSink(stream: TextStream): Sink {
  return {
    name: 'the console',
    event: (event) => {
      if (event.type === 'step' && !isShown(event)) return;
      for (const line of consoleLines(event)) stream.write(`${line}\n`);
    },
  };
}

/** How a run failed is said by whoever called it. */
function consoleLines(event: RunEvent): readonly string[] {
  return event.type === 'failed' || event.type === 'interrupted' ? [] : eventLines(event);
}

function isShown({ step, steps }: StepDone): boolean {
  return (
    step === 1 || step === steps || step % Math.max(1, Math.ceil(steps / PLAIN_STEP_LINES)) === 0
  );
}

class ProgressBar implements Sink {
  readonly name = 'the console';
  readonly #stream: TextStream;
  readonly #hasColours: boolean;
  #curve = new Sparkline(CURVE_WIDTH);
  #evaluations: EvaluationResult[] = [];
  #meanMs: number | null = null;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #isOpen = false;

  constructor(stream: TextStream, hasColours: boolean) {
    this.#stream = stream;
    this.#hasColours = hasColours;
  }

  event(event: RunEvent): void {
    switch (event.type) {
      case 'step':
        this.#meanMs =
          this.#meanMs === null ? event.ms : this.#meanMs + SMOOTHING * (event.ms - this.#meanMs);
        this.#curve.add(event.nll);
        this.#draw(event.step / event.steps, this.#stepText(event, this.#meanMs));
        break;
      case 'curvature-progress':
      case 'evaluation-progress':
        this.#draw(
          event.done / event.rows,
          `${event.dataset} ${event.split}  ${event.done}/${event.rows} rows`,
        );
        break;
      case 'checkpoint':
      case 'posterior':
        break;
      default:
        this.#clear();
        this.#told(event);
    }
  }

  #told(event: RunEvent): void {
    if (event.type === 'run-started') {
      this.#curve = new Sparkline(CURVE_WIDTH);
      this.#meanMs = null;
      this.#evaluations = [];
    }
    if (event.type === 'evaluation' && event.isFinal) this.#evaluations.push(event.result);
    const style = STYLES[event.type];
    for (const line of consoleLines(event)) {
      this.#stream.write(`${style === undefined ? line : this.#styled(style, line)}\n`);
    }
    if (event.type !== 'finished') return;
    const width = this.#stream.columns ?? USUAL_COLUMNS;
    for (const line of finalLines(this.#evaluations, width)) this.#stream.write(`${line}\n`);
  }

  #stepText(event: StepDone, meanMs: number): string {
    const left = ((event.steps - event.step) * meanMs) / 1000;
    return `${stepLine(event, { short: true })}  ${duration(left)} left  ${this.#curve}`;
  }

  #draw(fraction: number, text: string): void {
    const now = performance.now();
    if (fraction < 1 && now - this.#drawnAt < DRAW_EVERY_MS) return;
    this.#drawnAt = now;
    // The numbers matter more than the bar: it takes what a narrow terminal leaves.
    const columns = (this.#stream.columns ?? USUAL_COLUMNS) - 1;
    const width = Math.max(0, Math.min(BAR_WIDTH, columns - text.length - 3));
    const full = Math.min(width, Math.round(fraction * width));
    const done = this.#styled('cyan', '#'.repeat(full));
    const bar = width === 0 ? '' : `[${done}${'-'.repeat(width - full)}] `;
    const room = width === 0 ? columns : columns - width - 3;
    this.#stream.write(`\r\u001b[2K${bar}${text.slice(0, room)}`);
    this.#isOpen = true;
  }

  #styled(style: Style, text: string): string {
    return this.#hasColours && text !== ''
      ? styleText(style, text, { validateStream: false })
      : text;
  }

  #clear(): void {
    if (this.#isOpen) this.#stream.write('\r\u001b[2K');
    this.#isOpen = false;
  }
}

type Style = 'cyan' | 'yellow' | 'green' | 'bold';

const STYLES: Readonly<Partial<Record<RunEvent['type'], Style>>> = {
  'run-started': 'bold',
  warning: 'yellow',
  finished: 'green',
};
