/**
 * The one description of every setting: types, flags, help texts, defaults and the JSON schema come from here.
 * A default that depends on the method or the protocol is left open here and filled in by `resolve.ts`.
 */

import { z } from 'zod';
import { PRECISIONS, QUANTIZATIONS } from '../engine/arithmetic.ts';
import { MAX_THREADS } from '../engine/threads.ts';
import { NOISE } from '../methods/blob.ts';
import { DEFAULT_METHOD, METHOD_GROUPS, METHOD_SETTINGS, METHODS } from '../methods/registry.ts';

/** Layers that can get an adapter, by their Hugging Face names. */
const MODULES = [
  'q_proj',
  'k_proj',
  'v_proj',
  'o_proj',
  'gate_proj',
  'up_proj',
  'down_proj',
  'lm_head',
] as const;

const name = z.string().min(1);
const count = z.int().positive();
const positive = z.number().positive();
const nonnegative = z.number().nonnegative();
const fraction = z.number().min(0).max(1);
/** The noise counts samples in 16 bits: beyond, draws would repeat. */
const sampleCount = z.int().nonnegative().max(65_536);
const sampleCounts = z.array(sampleCount).min(1);

const shared = {
  model: name.optional().describe('model folder, .gguf file, builtin:tiny or builtin:random'),
  dataDir: name.optional().describe('folder that holds the datasets by name'),
  task: z
    .enum(['multiple-choice', 'classification'])
    .optional()
    .describe("what one's own rows are (default: by their fields)"),
  labels: z.array(name).min(2).optional().describe('class names of a classification dataset, in order'),
  split: z
    .array(name)
    .min(1)
    .optional()
    .describe("splits to evaluate (default: the dataset's, mostly validation)"),
  seed: z.int().nonnegative().default(1).describe('seed of initial values, order and noise'),
  device: name.default('auto').describe('auto, cpu or cuda[:N]'),
  threads: count.max(MAX_THREADS).optional().describe('worker threads (default: all cores)'),
  precision: z
    .enum(PRECISIONS)
    .default('f32')
    .describe(
      'what products with frozen weights round to (bf16: and attention); mixed leaves inputs of 6 and more exact',
    ),
  quantize: z
    .enum(QUANTIZATIONS)
    .default('none')
    .describe('quantise the blocks when they are read; a matrix that q4_k or nf4 does not fit takes q8_0'),
  maxSeqLen: z.int().min(8).default(300).describe('longest prompt in tokens'),
  protocol: z
    .enum(['corrected', 'reference'])
    .default('corrected')
    .describe("preset: corrected, or the reference code's accounting"),
};

/** The fields that `--protocol` presets, each of which can be set alone. */
const protocolFields = {
  template: z.enum(['reference', 'corrected']).optional().describe('wording of the prompts'),
  classes: z
    .enum(['dataset', 'item'])
    .optional()
    .describe("classes that compete: the dataset's K or the item's own"),
  labelTokens: z
    .enum(['last', 'continuation'])
    .optional()
    .describe('label token: last token of the label, or the one that continues the prompt'),
  addSpace: z.boolean().optional().describe('with --label-tokens last: a space before the label'),
  eos: z.enum(['llama-class', 'never']).optional().describe('end-of-sequence token after the prompt'),
  truncation: z.enum(['right', 'context']).optional().describe('what a too long prompt loses'),
  order: z.enum(['file', 'shuffled']).optional().describe('order of the training rows'),
  lastBatch: z.enum(['drop', 'keep']).optional().describe('an incomplete last training batch'),
  evaluationTail: z.enum(['drop', 'keep']).optional().describe('an incomplete last evaluation batch'),
  sampling: z
    .enum(['antithetic', 'plain'])
    .optional()
    .describe('posterior samples: pairs that mirror each other at the mean, or all of their own'),
  metricMean: z.enum(['batches', 'rows']).optional().describe('what NLL and Brier average over'),
};

const predictive = {
  noise: NOISE.default('token').describe('what shares one noise sign: each token, each prompt, or all'),
  evalBatchSize: count
    .optional()
    .describe('prompts per evaluation batch (default: 16; in protocol reference the batch size)'),
};

const training = {
  dataset: name.optional().describe('dataset to train on: name, folder or file'),
  method: z.enum(METHODS).default(DEFAULT_METHOD).describe('method'),
  trainSplit: name.optional().describe("split to train on (default: the dataset's, mostly train)"),
  epochs: count.optional().describe('passes over the data (default: 3, unless --max-steps is given)'),
  maxSteps: count.optional().describe('length of the schedule; wins over --epochs'),
  batchSize: count.default(4).describe('prompts per batch'),
  lr: positive.default(1e-4).describe('peak learning rate of AdamW (mean and B)'),
  warmupRatio: fraction.default(0.06).describe('share of the schedule that warms up'),
  weightDecay: nonnegative.default(0).describe('decoupled weight decay'),
  adamEpsilon: positive.default(1e-6).describe('epsilon of AdamW'),
  gradAccumulation: count.default(1).describe('batches per update'),
  maxGradNorm: nonnegative.default(0).describe('clips the gradient of mean and B; 0 = never'),
  rank: count.default(8).describe('rank r of the adapters'),
  alpha: positive.default(16).describe('scaling is alpha / rank'),
  loraDropout: z.number().min(0).lt(1).default(0).describe('dropout on the input of the adapters'),
  targetModules: z
    .array(z.enum(MODULES))
    .min(1)
    .default(['q_proj', 'v_proj', 'lm_head'])
    .describe('layers that get an adapter'),
  initAdapter: name.optional().describe('start from this adapter folder'),
  evalDataset: z.array(name).min(1).optional().describe('datasets to evaluate (default: the training one)'),
  evalEvery: z.int().nonnegative().default(0).describe('steps between evaluations; 0 = only at the end'),
  evalSamples: sampleCounts.default([10]).describe('posterior samples per evaluation; 0 = posterior mean'),
  evalLimit: count.optional().describe('evaluate only the first N rows of each split'),
  checkpointEvery: z
    .int()
    .nonnegative()
    .default(100)
    .describe('steps between checkpoints; 0 = only at the end'),
  checkpointing: z
    .enum(['auto', 'none', 'full'])
    .default('auto')
    .describe(
      'activations computed again instead of kept: what does not fit half the free memory, none, or all',
    ),
};

const { sigma } = METHOD_SETTINGS;

/** Counts as the reference's launcher does. */
const accounting = {
  processes: z.int().min(1).max(2).default(1).describe('GPUs of the reference to account for'),
};

const posterior = {
  run: name.optional().describe('folder of a training run (gives model, adapter, dataset and seed)'),
  adapter: name.optional().describe('adapter folder'),
  sigma: sigma.unwrap().optional().describe('sigma of rho (default: as saved with the adapter)'),
  stochasticLayers: z
    .string()
    .regex(/^(all|last:[1-9]\d*)$/, 'must be all or last:K')
    .default('all')
    .describe('layers that sample: all, or last:K; the head counts as the last'),
};

const folders = {
  out: name.optional().describe('run folder (default: runs/<method>-<dataset>-seed<seed>)'),
  resume: z.boolean().default(false).describe("continue the folder's run from its last checkpoint"),
  overwrite: z.boolean().default(false).describe('replace the run that the folder holds'),
  dryRun: z
    .boolean()
    .default(false)
    .describe('write nothing: resolve, tokenise, run one step, print the plan'),
};

export const TrainSchema = z.strictObject({
  ...shared,
  ...protocolFields,
  ...predictive,
  ...training,
  ...METHOD_SETTINGS,
  ...accounting,
  ...folders,
});
export type TrainSettings = z.output<typeof TrainSchema>;
/** What {@link train} takes; everything but `model` and `dataset` has a default. */
export type TrainOptions = z.input<typeof TrainSchema>;

export const EvalSchema = z.strictObject({
  ...shared,
  ...protocolFields,
  ...predictive,
  ...posterior,
  dataset: z.array(name).min(1).optional().describe("datasets: names, folders or files (default: the run's)"),
  samples: sampleCounts.default([10]).describe('posterior samples; 0 = posterior mean'),
  processes: accounting.processes,
  limit: count.optional().describe('only the first N rows of each split'),
  saveSamples: z.boolean().default(false).describe("also save each sample's probabilities"),
  out: name.optional().describe('folder for result.json and predictions/ (default: write no files)'),
  overwrite: folders.overwrite,
});
export type EvalSettings = z.output<typeof EvalSchema>;
/** What {@link evaluate} takes. */
export type EvaluateOptions = z.input<typeof EvalSchema>;

const { split: _split, ...sharedByPredict } = shared;
export const PredictSchema = z.strictObject({
  ...sharedByPredict,
  ...protocolFields,
  ...predictive,
  ...posterior,
  dataset: name.optional().describe("dataset whose prompt to use (default: the run's or the adapter's)"),
  samples: z
    .union([z.literal('auto'), sampleCount])
    .default(10)
    .describe('posterior samples; 0 = posterior mean, auto = as many as the answer needs'),
  onLong: z
    .enum(['cut', 'error'])
    .default('cut')
    .describe('a prompt longer than --max-seq-len: cut it and say so, or refuse the input'),
  out: name.optional().describe('output file (default: standard output)'),
  overwrite: z.boolean().default(false).describe('replace the output file'),
});
export type PredictSettings = z.output<typeof PredictSchema>;
/** What {@link predict} takes. */
export type PredictOptions = z.input<typeof PredictSchema>;

export const DemoSchema = z.strictObject({
  seed: shared.seed,
  threads: shared.threads,
  out: name.default('runs/demo').describe('folder for the run folders mle and blob'),
  overwrite: z.boolean().default(false).describe('train again even if the folder holds finished runs'),
});
/** What {@link demo} takes. */
export type DemoOptions = z.input<typeof DemoSchema>;

export const SCHEMAS = {
  train: TrainSchema,
  eval: EvalSchema,
  predict: PredictSchema,
  demo: DemoSchema,
} as const;
export type CommandName = keyof typeof SCHEMAS;

/** Headings of the help text, in order, and the settings under each. */
export const GROUPS: readonly (readonly [heading: string, keys: readonly string[]])[] = [
  ['Model and data', Object.keys(shared)],
  [
    'Adapter and prediction',
    [...Object.keys(posterior), 'samples', 'limit', 'saveSamples', 'onLong', ...Object.keys(predictive)],
  ],
  ['Training', Object.keys(training)],
  ...METHOD_GROUPS,
  ['Protocol (each field of the preset)', [...Object.keys(protocolFields), ...Object.keys(accounting)]],
  ['Run folder', Object.keys(folders)],
];
