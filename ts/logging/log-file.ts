/** `log.txt`: a run's events with the time, for people. */

import { appendFile } from 'node:fs/promises';
import type { RunEvent } from '../events/run-event.ts';
import type { Sink } from '../events/sinks.ts';
import { eventLines } from './lines.ts';

export class LogFile implements Sink {
  readonly name = 'log.txt';
  readonly #path: string;
  /** Ends when all lines so far are written. */
  #written: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  /** The run does not wait for the disk. */
  event(event: RunEvent): Promise<void> {
    if (event.type === 'step') return this.#written; // metrics.jsonl has them all
    const time = new Date().toISOString();
    const lines = eventLines(event).map((line) => `${time} ${line}\n`);
    if (lines.length > 0)
      this.#written = this.#written.then(() => appendFile(this.#path, lines.join('')));
    return this.#written;
  }

  close(): Promise<void> {
    return this.#written;
  }
}
