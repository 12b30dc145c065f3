/** `log.txt`: a run's events with the time, for people. */

import { appendFileSync } from 'node:fs';
import type { RunEvent } from '../events/run-event.ts';
import type { Sink } from '../events/sinks.ts';
import { eventLines } from './lines.ts';

export class LogFile implements Sink {
  readonly name = 'log.txt';
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  event(event: RunEvent): void {
    if (event.type === 'step') return; // metrics.jsonl has them all
    const time = new Date().toISOString();
    const lines = eventLines(event).map((line) => `${time} ${line}\n`);
    if (lines.length === 0) return;
    appendFileSync(this.#path, lines.join(''));
  }
}
