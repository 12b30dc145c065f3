/** What is asked of a model: sizes that follow from a run's settings. */

import type { TrainConfig } from '../config/resolve.ts';
import { trainingMethod } from '../methods/registry.ts';
import { blockMatrices, type ModelShape } from './shape.ts';

export interface Work {
  readonly shape: ModelShape;
  readonly precision: TrainConfig['precision'];
  readonly quantize: TrainConfig['quantize'];
  /** Bytes of the weights in memory, where they are known. */
  readonly weightBytes: number | null;
  readonly targetModules: readonly string[];
  readonly rank: number;
  /** Values of the adapter, of all members. */
  readonly adapterValues: number;
  /** Tokens of a prompt. */
  readonly tokens: number;
  /** Rows of a training step: tokens of all prompts, of all members and samples. */
  readonly rows: number;
  /** Prompts of a step. */
  readonly prompts: number;
  /** Whether a block's activations are computed again in the backward pass. */
  readonly recomputes: boolean;
  /** Posterior samples of an answer, of all members; at least 1. */
  readonly samples: number;
  readonly evaluationPrompts: number;
  readonly threads: number;
}

export function workOf(
  config: TrainConfig,
  shape: ModelShape,
  { tokens, weightBytes, threads }: { tokens: number; weightBytes: number | null; threads: number },
): Work {
  const { posterior, members = 1 } = trainingMethod(config.method).adapter(config);
  const { trainSamples = 1 } = config as { trainSamples?: number };
  const [d, queries, keys] = [shape.hiddenSize, shape.numHeads, shape.numKvHeads];
  const matrices = {
    ...blockMatrices(shape),
    qkv_proj: [(queries + 2 * keys) * shape.headDim, d] as const,
    gate_up_proj: [2 * shape.intermediateSize, d] as const,
    lm_head: [shape.vocabSize, shape.hiddenSize] as const,
  };
  const { targetModules = [] } = config;
  let adapterValues = 0;
  for (const [module, [outputs, inputs]] of Object.entries(matrices)) {
    if (!targetModules.some((one) => one === module)) continue;
    const sites = module === 'lm_head' ? 1 : shape.numLayers;
    const gaussian =
      posterior === null ? 0 : ofGaussian(posterior.over ?? 'a', config.rank, inputs, outputs);
    adapterValues += sites * (config.rank * (inputs + outputs) + gaussian);
  }
  const prompts = config.batchSize * members;
  const [samples = 0] = config.evalSamples;
  return {
    ...{
      shape,
      precision: config.precision,
      quantize: config.quantize,
      weightBytes,
      tokens,
      prompts,
      threads,
    },
    ...{ targetModules, rank: config.rank },
    adapterValues: adapterValues * members,
    rows: prompts * tokens * (posterior === null ? 1 : trainSamples),
    recomputes: config.checkpointing === 'full',
    samples: Math.max(1, posterior === null ? 1 : samples) * members,
    evaluationPrompts: config.evalBatchSize,
  };
}

/** Values of a layer's posterior beside A and B. */
function ofGaussian(
  over: 'a' | 'a-and-b' | 'scales' | 'context',
  rank: number,
  inputs: number,
  outputs: number,
): number {
  const hidden = 64;
  const entries = 2 * rank * rank;
  const counts = {
    a: rank * inputs,
    'a-and-b': rank * (inputs + outputs),
    scales: 2 * rank,
    context: hidden * (rank + 1) + entries * (hidden + 1),
  };
  return counts[over];
}
