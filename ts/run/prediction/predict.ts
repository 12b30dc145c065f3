/** Probabilities for the rows of one input: loads, answers, frees. */

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { PredictOptions } from '../../config/schema.ts';
import { BpeftError } from '../../errors.ts';
import { observed } from '../../events/sinks.ts';
import type { RunContext } from '../inputs/context.ts';
import { io, replaceFile } from '../records/atomic.ts';
import { refuseDataFolder } from '../records/data-folder.ts';
import { refuseProtected } from '../records/protected.ts';
import { requireWritable } from '../records/writable.ts';
import {
  loadPredictor,
  type PredictInput,
  type Prediction,
  type PredictorPlan,
  planPredictor,
} from './predictor.ts';

/**
 * One answer per input row, in order; with `out` they are also written there, as JSON Lines.
 * @throws {BpeftError} before any work: `BPEFT_IO`, `out` cannot be written; `BPEFT_USAGE`, it is an
 *   input or belongs to a run; `BPEFT_RUN_EXISTS`, it is there and `overwrite` is not given.
 */
export async function predict(
  options: PredictOptions,
  input: PredictInput,
  context: RunContext = {},
): Promise<Prediction[]> {
  return observed(context.onEvent, {}, async ({ event: onEvent }) => {
    const { out } = options;
    if (out !== undefined) await requireWritable(out, 'file');
    const plan = await planPredictor(options, context);
    if (out !== undefined) await requireFree(out, plan, input);
    const predictor = await loadPredictor(plan, { ...context, onEvent });
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
  });
}

async function requireFree(out: string, plan: PredictorPlan, input: PredictInput): Promise<void> {
  const { config, place } = plan;
  await refuseProtected(out, [
    { what: 'the input', path: input.path },
    { what: 'the model', path: config.model, isWhole: true },
    { what: 'the adapter', path: place.folder, isWhole: true },
    { what: 'the dataset', path: config.dataset },
  ]);
  await refuseDataFolder(out, 'file');
  if (config.overwrite || !existsSync(out)) return;
  throw new BpeftError('BPEFT_RUN_EXISTS', `${out} is already there`, {
    hint: 'give another --out, or --overwrite',
  });
}

export function jsonLines(answers: readonly Prediction[]): string {
  return answers.map((answer) => `${JSON.stringify(answer)}\n`).join('');
}
