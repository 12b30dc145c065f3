// Measurements on request: a line on the child's standard input asks for one, a line of JSON on its
// standard output answers. So two processes can be measured in turn, one working, the other asleep.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** The child's side: `next()` resolves when it is asked. */
export const takeTurns = () => createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export function answerTurn(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

/** The parent's side. */
export class TurnTaker {
  #child;
  #lines;
  #stderr = '';

  constructor(args, options) {
    this.#child = spawn(process.execPath, args, { ...options, stdio: 'pipe' });
    // A child that failed does not read; its error comes with the answer that it owes.
    this.#child.stdin.on('error', () => undefined);
    this.#child.stderr.on('data', (chunk) => {
      this.#stderr += chunk;
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Asks once; the next line of the child, read as JSON. */
  ask() {
    this.#child.stdin.write('\n');
    return this.answer();
  }

  /** @throws {Error} with what the child wrote to standard error, when it ended instead. */
  async answer() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the measurement ended early: ${this.#stderr.trim()}`);
    return JSON.parse(value);
  }

  /** The child's last line, after all turns; resolves once it has ended. */
  async finish() {
    const last = await this.answer();
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin.end();
    await ended;
    return last;
  }

  stop() {
    this.#child.kill('SIGKILL');
  }
}
