/** `log.txt`: a run's events with the time, for people. It never stops a run. */

import { appendFileSync } from 'node:fs';
import type { Sink } from '../events.ts';
import { eventLines } from './lines.ts';

export class LogFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  readonly sink: Sink = (event) => {
    if (event.type === 'step') return; // metrics.jsonl has them all
    const time = new Date().toISOString();
    const lines = eventLines(event).map((line) => `${time} ${line}\n`);
    if (lines.length === 0) return;
    try {
      appendFileSync(this.#path, lines.join(''));
    } catch {
      // What a full disk means for the run is told by the files that the run needs.
    }
  };
}
