/** The demonstration's comparison, whose bootstraps take seconds: a worker of {@link offThread}. */

import { compareDetection, compareSplit } from '../report/comparison.ts';
import { serve } from '../threads/off-thread.ts';
import type { Compared, ToCompare } from './compared.ts';

await serve<ToCompare, Compared>(({ labelled, foreign, contenders }) => ({
  splits: labelled.map((split) => compareSplit(split, contenders)),
  detection: compareDetection({ inside: labelled[0], outside: foreign }, contenders),
}));
