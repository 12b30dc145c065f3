/** Probabilities for the rows of one input: loads, answers, frees. */

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { PredictOptions } from '../config/schema.ts';
import { io, replaceFile } from './atomic.ts';
import type { RunContext } from './context.ts';
import { openPredictor, type PredictInput, type Prediction } from './predictor.ts';
import { requireWritable } from './writable.ts';

/**
 * One answer per input row, in order; with `out` they are also written there, as JSON Lines.
 * @throws {BpeftError} `BPEFT_IO`, before any work: `out` cannot be written.
 */
export async function predict(
  { out, ...options }: PredictOptions,
  input: PredictInput,
  context: RunContext = {},
): Promise<Prediction[]> {
  if (out !== undefined) await requireWritable(out, 'file');
  const predictor = await openPredictor(options, context);
  try {
    const answers = await predictor.predictStream(input, context);
    if (out !== undefined) {
      await io(out, () => mkdir(dirname(out), { recursive: true }));
      await replaceFile(out, jsonLines(answers));
    }
    return answers;
  } finally {
    await predictor.dispose();
  }
}

export function jsonLines(answers: readonly Prediction[]): string {
  return answers.map((answer) => `${JSON.stringify(answer)}\n`).join('');
}
