/** Methods side by side, by a thread of its own. */

import type { ComparedDetection, ComparedSplit, Contender } from '../report/comparison.ts';
import { offThread } from '../threads/off-thread.ts';

export interface ToCompare {
  readonly labelled: readonly [string, ...string[]];
  readonly foreign: string;
  readonly contenders: readonly Contender[];
}

export interface Compared {
  readonly splits: readonly ComparedSplit[];
  readonly detection: ComparedDetection;
}

export function compared(what: ToCompare, signal: AbortSignal | undefined): Promise<Compared> {
  return offThread('demo/comparison-worker', what, { signal });
}
