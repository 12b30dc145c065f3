/** Where a command writes: results for programs on stdout, everything for people on stderr. */

import type { TextStream } from '../logging/console.ts';

export interface Output {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: TextStream;
}
