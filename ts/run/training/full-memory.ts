/** An update for which a GPU's memory was too small: what of it would fit. */

import { openGpus } from '../../engine/gpus.ts';
import { BpeftError } from '../../errors.ts';
import { whatFits } from '../../estimate/fitting.ts';
import type { Session } from './session.ts';

/** The update's report; an error of its memory has a hint of numbers, where anybody can say. */
export async function tellingWhatFits<T>(update: Promise<T>, session: Session): Promise<T> {
  try {
    return await update;
  } catch (error) {
    throw await withWhatFits(error, session);
  }
}

async function withWhatFits(error: unknown, session: Session): Promise<unknown> {
  const { config, model, train } = session;
  const isFull = error instanceof BpeftError && error.code === 'BPEFT_OUT_OF_MEMORY';
  if (!isFull || model.info.kind !== 'decoder') return error;
  const survey = await openGpus().catch(() => null);
  const gpu = survey?.gpus.find(({ device }) => device === model.info.device);
  if (gpu === undefined || gpu.freeBytes === null) return error;
  const { lengths } = train.encoded.examples;
  const fits = whatFits(config, {
    shape: model.info,
    weightBytes: model.info.weightBytes,
    tokens: lengths.reduce((longest, length) => Math.max(longest, length), 1),
    // What failed is free again; the model would be there anew.
    bytes: Math.min(gpu.freeBytes + model.info.memoryBytes, gpu.memoryBytes),
  });
  return new BpeftError(error.code, error.message, {
    hint: `${fits}; ${error.hint}`,
    cause: error,
  });
}
