/** Where a command writes: results for programs on stdout, everything for people on stderr. */

import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { TextStream } from '../logging/console.ts';

export interface Output {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: TextStream;
}

/** Writes no faster than the reader reads, so that nothing piles up in memory. */
export async function writeInTime(
  { stdout }: Output,
  text: string,
  signal: AbortSignal,
): Promise<void> {
  stdout.write(text);
  const stream = stdout as Partial<Writable>;
  // One that failed (its reader is gone, a full disk) never drains; `main.ts` has heard of it.
  if (stream.writableNeedDrain !== true || stream.destroyed === true) return;
  await once(stdout as Writable, 'drain', { signal }).catch(() => {});
}
