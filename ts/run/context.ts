/** What the caller of a run brings along. */

import { throwIfAborted } from '../abort.ts';
import type { Sink } from '../events.ts';
import { type BayesianModel, loadModel, type Precision, type Quantization } from '../model.ts';

export interface RunContext {
  /** Stops the run; training then writes a checkpoint first. The run rejects with `BPEFT_ABORTED`. */
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: Sink | undefined;
  /** A loaded model to use instead of loading one; it stays the caller's. */
  readonly model?: BayesianModel | undefined;
}

/** The context's model, or one that lives as long as `work`. */
export async function withModel<T>(
  config: { model: string; precision: Precision; quantize: Quantization; threads?: number | undefined },
  context: RunContext,
  work: (model: BayesianModel) => Promise<T>,
): Promise<T> {
  throwIfAborted(context.signal);
  if (context.model !== undefined) return work(context.model);
  const { model: source, precision, quantize, threads } = config;
  const model = await loadModel({ model: source, precision, quantize, threads }, context);
  try {
    return await work(model);
  } finally {
    await model.dispose();
  }
}
