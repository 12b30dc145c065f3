/**
 * Monte Carlo dropout (Gal & Ghahramani, arXiv 1506.02142): a point trained under dropout of the
 * low-rank terms' inputs, and answers that are means over fresh masks.
 */

import { BpeftError } from '../errors.ts';
import type { Method } from './method.ts';
import { MLE } from './mle.ts';

export const MC_DROPOUT: Method<{ readonly loraDropout: number }> = {
  ...MLE,
  id: 'mc-dropout',
  check: ({ loraDropout }) => {
    if (loraDropout > 0) return;
    const message = 'method mc-dropout needs a probability above 0: --lora-dropout is 0';
    throw new BpeftError('BPEFT_USAGE', message, { hint: 'give --lora-dropout 0.1' });
  },
  predictive: ({ dropout }, { noise }) => ({ dropout, average: 'probabilities', noise }),
};
