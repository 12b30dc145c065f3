/** A model that a GPU's memory did not hold: what of it would fit. */

import type { Precision, Quantization } from '../../engine/arithmetic.ts';
import { openGpus } from '../../engine/gpus.ts';
import { loadModel } from '../../engine/model.ts';
import { BpeftError } from '../../errors.ts';
import { whichWeightsFit } from '../../estimate/fitting.ts';

interface Asked {
  readonly model: string;
  readonly precision: Precision;
  readonly quantize: Quantization;
}

/** The error of loading with a hint of numbers; as it is, where nobody can say. */
export async function tellingWhichWeightsFit(
  error: unknown,
  { model, precision, quantize }: Asked,
): Promise<unknown> {
  if (!(error instanceof BpeftError) || error.code !== 'BPEFT_OUT_OF_MEMORY') return error;
  const [device] = /^cuda:\d+/.exec(error.message) ?? [];
  try {
    const survey = await openGpus();
    const bytes = survey?.gpus.find((gpu) => gpu.device === device)?.freeBytes ?? null;
    if (bytes === null) return error;
    // Its sizes: no weight is read.
    await using sizes = await loadModel({ model, device: 'cpu', threads: 1 });
    const { kind, memoryBytes: weightBytes } = sizes.info;
    if (kind !== 'decoder') return error;
    const fits = whichWeightsFit({ shape: sizes.info, precision, quantize, weightBytes }, bytes);
    return new BpeftError(error.code, error.message, {
      hint: `${fits}; ${error.hint}`,
      cause: error,
    });
  } catch {
    return error;
  }
}
