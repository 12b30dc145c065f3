/** What a training run is going to do, in numbers, before it does it. */

import type { TrainConfig } from '../../config/resolve.ts';
import type { EncodedDataset } from '../../datasets/tokens/encode.ts';
import { loadNative } from '../../engine/native.ts';
import type { KlCycle, TrainerOptions } from '../../engine/trainer.ts';
import { BpeftError } from '../../errors.ts';
import type { Warning } from '../../events/run-event.ts';
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
  readonly label_tokens: Readonly<Record<string, number>>;
  readonly batches_per_epoch: number;
  readonly batches_per_update: number;
  /** Updates of the whole run. */
  readonly steps: number;
  readonly epochs: number;
  readonly schedule: { readonly total: number; readonly warmup: number; readonly stride: number };
  /** Share of the batches that train with a rate of 0 (protocol reference runs whole epochs). */
  readonly no_op_share: number;
  readonly parameters: { readonly model: number; readonly trainable: number };
  readonly quantize: string;
  /** Types of the blocks' matrices in memory, with their number; `--quantize` changes them where they fit. */
  readonly block_types: Readonly<Record<string, number>>;
  readonly kl: KlPlan | null;
}

/** The run by the KL alone, without data: how far σ and the mean would go. */
export interface KlPlan {
  /** Updates per cycle of the weight. */
  readonly cycle: number;
  readonly uniform: boolean;
  readonly pulses: number;
  readonly weight_sum: number;
  readonly sigma_start: number;
  readonly sigma_end: number;
  /** Factor that remains of the mean. */
  readonly shrink_end: number;
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

/** `uniform` spreads over every update what `auto` gives in pulses: the same cycle, the weight 1/M throughout. */
export function klCycle(config: TrainConfig, accounting: Accounting): KlCycle {
  const length = typeof config.klCycle === 'number' ? config.klCycle : accounting.klCycle.auto;
  return { kind: config.klCycle === 'uniform' ? 'uniform' : 'pulse', length };
}

export function trainerOptions(config: TrainConfig, accounting: Accounting): TrainerOptions {
  return {
    seed: config.seed,
    lr: config.lr,
    schedule: accounting.schedule,
    weightDecay: config.weightDecay,
    adamEpsilon: config.adamEpsilon,
    maxGradNorm: config.maxGradNorm,
    bayes:
      config.method === 'blob'
        ? {
            priorStd: config.priorStd,
            klForm: config.klForm,
            klLr: config.klLr,
            klCycle: klCycle(config, accounting),
            trainSamples: config.trainSamples,
            average: config.average,
            noise: config.noise,
          }
        : null,
    keptBytes: keptBytes(config.checkpointing),
  };
}

/** Bytes of activations that training may keep; undefined: all. Only time and memory depend on it. */
function keptBytes(checkpointing: TrainConfig['checkpointing']): number | undefined {
  if (checkpointing === 'none') return undefined;
  return checkpointing === 'full' ? 0 : Math.floor(process.availableMemory() / 2);
}

export function trainPlan(
  config: TrainConfig,
  encoded: EncodedDataset,
  accounting: Accounting,
  { parameters, block_types }: Pick<TrainPlan, 'parameters' | 'block_types'>,
): TrainPlan {
  const lengths = encoded.examples.map(({ ids }) => ids.length).sort((a, b) => a - b);
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
    label_tokens: encoded.labelTokens,
    batches_per_epoch: accounting.batchesPerEpoch,
    batches_per_update: accounting.batchesPerUpdate,
    steps: accounting.updates,
    epochs: accounting.epochs,
    schedule: accounting.schedule,
    no_op_share: accounting.noOpShare,
    parameters,
    quantize: config.quantize,
    block_types,
    kl: config.method === 'blob' ? klPlan(config, accounting) : null,
  };
}

type Nullable<T> = { readonly [K in keyof T]: T[K] | null };

function klPlan(config: TrainConfig, accounting: Accounting): KlPlan {
  const cycle = klCycle(config, accounting);
  const forecast = loadNative().forecastKl(
    JSON.stringify({
      steps: accounting.updates,
      schedule: accounting.schedule,
      kl_lr: config.klLr,
      kl_cycle: cycle,
      prior_std: config.priorStd,
      kl_form: config.klForm,
      sigma: config.sigma,
      init_eps: config.initEps,
    }),
  );
  const { pulses, weight_sum, sigma_start, sigma_end, shrink_end } = JSON.parse(forecast) as Nullable<KlPlan>;
  // JSON has no NaN and no infinity: they arrive as null.
  if (sigma_start === null || sigma_end === null || shrink_end === null) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `the KL alone leaves the numbers' range with --kl-lr ${config.klLr}, --prior-std ${config.priorStd}, --init-eps ${config.initEps}`,
      { hint: 'lower --kl-lr, or use a larger --prior-std' },
    );
  }
  return {
    cycle: cycle.length,
    uniform: cycle.kind === 'uniform',
    pulses: pulses ?? 0,
    weight_sum: weight_sum ?? 0,
    sigma_start,
    sigma_end,
    shrink_end,
  };
}

/** A cycle longer than a third of the run gives the KL almost no pulse: σ stays at its start, and BLoB is MLE. */
export function klWarning(plan: TrainPlan): Warning | null {
  const { kl, steps } = plan;
  if (kl === null || kl.uniform || kl.cycle <= steps / 3) return null;
  return {
    type: 'warning',
    code: 'BPEFT_KL_NEVER_ACTS',
    message:
      `the KL hardly acts: a cycle of ${kl.cycle} updates in a run of ${steps} gives ${kl.pulses} pulses; ` +
      `give --kl-cycle ${Math.max(1, Math.round(steps / 10))} or train longer`,
  };
}
