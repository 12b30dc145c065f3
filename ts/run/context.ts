/** What the caller of a run brings along. */

import { throwIfAborted } from '../abort.ts';
import type { Sink } from '../events.ts';
import { type BayesianModel, loadModel } from '../model.ts';

export interface RunContext {
  /** Stops the run; training then writes a checkpoint first. The run rejects with `BPEFT_ABORTED`. */
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: Sink | undefined;
  /** A loaded model to use instead of loading one; it stays the caller's. */
  readonly model?: BayesianModel | undefined;
}

/** The context's model, or one that lives as long as `work`. */
export async function withModel<T>(
  config: { model: string; precision: 'f32' | 'bf16' | 'int8'; threads?: number | undefined },
  context: RunContext,
  work: (model: BayesianModel) => Promise<T>,
): Promise<T> {
  throwIfAborted(context.signal);
  if (context.model !== undefined) return work(context.model);
  const precision = config.precision === 'bf16' ? 'bf16' : 'f32';
  const model = await loadModel({ model: config.model, precision, threads: config.threads }, context);
  try {
    return await work(model);
  } finally {
    await model.dispose();
  }
}
