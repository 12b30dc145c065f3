/** What a training run is going to do, in numbers, before it does it. */

import type { TrainConfig } from '../../config/resolve.ts';
import type { EncodedSplit } from '../../datasets/tokens/packed-examples.ts';
import type { AdapterInfo } from '../../engine/adapter.ts';
import type { ModelInfo } from '../../engine/model-info.ts';
import type { TrainerOptions } from '../../engine/trainer.ts';
import { BpeftError } from '../../errors.ts';
import type { KlPlan } from '../../methods/kl-plan.ts';
import { trainingMethod } from '../../methods/registry.ts';
import { type Accounting, stepAccounting } from '../../protocol/accounting.ts';

export interface TrainPlan {
  readonly dataset: string;
  readonly split: string;
  readonly rows: number;
  readonly tokens: {
    readonly min: number;
    readonly median: number;
    readonly max: number;
    readonly total: number;
  };
  /** Rows whose prompt was cut. */
  readonly truncated: number;
  readonly labelTokens: Readonly<Record<string, number>>;
  readonly batchesPerEpoch: number;
  readonly batchesPerUpdate: number;
  /** Updates of the whole run. */
  readonly steps: number;
  readonly epochs: number;
  readonly schedule: {
    readonly total: number;
    readonly warmup: number;
    readonly warmupStart: number;
    readonly stride: number;
  };
  /** Share of the batches that train with a rate of 0 (protocol reference runs whole epochs). */
  readonly noOpShare: number;
  readonly parameters: { readonly model: number; readonly trainable: number };
  readonly quantize: string;
  /**
   * Types of the blocks' matrices in memory, with their number; `--quantize` changes them where
   * they fit.
   */
  readonly blockTypes: Readonly<Record<string, number>>;
  readonly kl: KlPlan | null;
}

/** Keeps the forecast, which walks through every update, short. */
const MAX_UPDATES = 10_000_000;

export function account(config: TrainConfig, rows: number): Accounting {
  const accounting = stepAccounting(config.protocol, {
    rows,
    batchSize: config.batchSize,
    lastBatch: config.lastBatch,
    processes: config.processes,
    gradAccumulation: config.gradAccumulation,
    maxSteps: config.maxSteps ?? null,
    epochs: config.epochs ?? null,
    warmupRatio: config.warmupRatio,
    klGamma: config.klGamma,
  });
  if (accounting.updates > MAX_UPDATES) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `a run must have at most ${MAX_UPDATES} updates, got ${accounting.updates}`,
      { hint: 'lower --max-steps or --epochs' },
    );
  }
  return accounting;
}

export function trainerOptions(config: TrainConfig, accounting: Accounting): TrainerOptions {
  const { lr, weightDecay, adamEpsilon, maxGradNorm } = config;
  const point = { lr, schedule: accounting.schedule, weightDecay, adamEpsilon, maxGradNorm };
  return {
    seed: config.seed,
    method: trainingMethod(config.method).engineOptions(config, accounting, point),
    keptBytes: keptBytes(config.checkpointing),
    baseDropout: config.baseDropout,
  };
}

/**
 * Bytes of activations that training may keep; undefined: all. Only time and memory depend on it.
 */
function keptBytes(checkpointing: TrainConfig['checkpointing']): number | undefined {
  if (checkpointing === 'none') return undefined;
  return checkpointing === 'full' ? 0 : Math.floor(process.availableMemory() / 2);
}

export async function trainPlan(
  config: TrainConfig,
  encoded: EncodedSplit,
  accounting: Accounting,
  { adapter, model }: { adapter: AdapterInfo; model: ModelInfo },
): Promise<TrainPlan> {
  const { total, warmup, warmupStart, stride } = accounting.schedule;
  const lengths = encoded.examples.lengths.toSorted();
  return {
    dataset: encoded.name,
    split: encoded.split,
    rows: encoded.examples.length,
    tokens: {
      min: lengths[0] ?? 0,
      median: lengths[Math.floor(lengths.length / 2)] ?? 0,
      max: lengths.at(-1) ?? 0,
      total: encoded.tokens,
    },
    truncated: encoded.truncated,
    labelTokens: encoded.labelTokens,
    batchesPerEpoch: accounting.batchesPerEpoch,
    batchesPerUpdate: accounting.batchesPerUpdate,
    steps: accounting.updates,
    epochs: accounting.epochs,
    schedule: { total, warmup, warmupStart, stride },
    noOpShare: accounting.noOpShare,
    parameters: { model: model.parameters, trainable: adapter.trainableParameters },
    quantize: model.quantize,
    blockTypes: model.blockTypes,
    kl: await trainingMethod(config.method).klPlan(config, accounting, adapter),
  };
}
