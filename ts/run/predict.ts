/** Probabilities for the rows of one input: loads, answers, frees. */

import type { PredictOptions } from '../config/schema.ts';
import type { RunContext } from './context.ts';
import { openPredictor, type PredictInput, type Prediction } from './predictor.ts';

/** One answer per input row, in order. */
export async function predict(
  options: PredictOptions,
  input: PredictInput,
  context: RunContext = {},
): Promise<Prediction[]> {
  const predictor = await openPredictor(options, context);
  try {
    return await predictor.predictStream(input, context);
  } finally {
    await predictor.dispose();
  }
}
