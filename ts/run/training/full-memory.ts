/** A run for which a GPU's memory was too small: what of it would fit. */

import { openGpus } from '../../engine/gpus.ts';
import { BpeftError } from '../../errors.ts';
import { whatFits } from '../../estimate/fitting.ts';
import type { Session } from './session.ts';

/** The error with a hint of numbers; as it is, where nobody can say. */
export async function tellingWhatFits(error: BpeftError, session: Session): Promise<BpeftError> {
  const { config, model, train } = session;
  if (error.code !== 'BPEFT_OUT_OF_MEMORY' || model.info.kind !== 'decoder') return error;
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
