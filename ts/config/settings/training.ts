/** How an adapter is trained, whatever its method. */

import { z } from 'zod';
import {
  ADAMW_METHODS,
  AFTER_TRAINING_METHODS,
  DEFAULT_AFTER_TRAINING,
  DEFAULT_METHOD,
  METHODS,
  TRAINED_METHODS,
} from '../../methods/ids.ts';
import {
  count,
  type Facts,
  name,
  nonnegative,
  ofTraining,
  positive,
  sampleCounts,
  setting,
} from '../setting.ts';

/** Layers that can get an adapter, by their Hugging Face names: of decoders, then of encoders. */
const MODULES = [
  ...['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'lm_head'],
  ...['qkv_proj', 'gate_up_proj'],
  ...['query', 'key', 'value', 'attention.output.dense', 'intermediate.dense', 'output.dense'],
  ...['q_lin', 'k_lin', 'v_lin', 'out_lin', 'lin1', 'lin2'],
  ...['query_proj', 'key_proj', 'value_proj'],
  ...['Wqkv', 'attn.Wo', 'mlp.Wi', 'mlp.Wo', 'head.dense'],
  ...[
    'pooler.dense',
    'classifier',
    'classifier.dense',
    'classifier.out_proj',
    'pre_classifier',
    'dense',
  ],
];

const group: Facts['group'] = 'Training';
const ofAdamW = { group, methods: ADAMW_METHODS };

/** What an evaluation of a training run shows; the training itself does not know it. */
const SHOWN = { group: 'Evaluation and prediction', decides: 'evaluation' } as const;

export const TRAINING = {
  method: setting(
    'how the adapter is trained',
    {
      train: z.enum(METHODS).default(DEFAULT_METHOD),
      bayesianize: name
        .default(DEFAULT_AFTER_TRAINING)
        .describe(`how the adapter becomes Bayesian: ${AFTER_TRAINING_METHODS.join(' or ')}`),
    },
    {
      ...{ group, decides: 'training', recorded: 'value', isInherited: false },
      offered: TRAINED_METHODS,
      placeholder: 'id',
    },
  ),
  epochs: ofTraining(
    'passes over the data (default: 3, unless --max-steps is given)',
    count.optional(),
    {
      group,
    },
  ),
  maxSteps: ofTraining('length of the schedule; wins over --epochs', count.optional(), { group }),
  batchSize: ofTraining('prompts per batch', count.default(4), { group }),
  lr: ofTraining('peak learning rate of AdamW (mean and B)', positive.default(1e-4), ofAdamW),
  warmupRatio: ofTraining(
    'share of the schedule that warms up',
    z.number().min(0).max(1).default(0.06),
    {
      group,
    },
  ),
  weightDecay: ofTraining(
    'decoupled weight decay (default: 0; of MAP in protocol reference 0.00001)',
    nonnegative.optional(),
    { group },
  ),
  adamEpsilon: ofTraining('epsilon of AdamW', positive.default(1e-6), ofAdamW),
  gradAccumulation: ofTraining('batches per update', count.default(1), { group }),
  maxGradNorm: ofTraining(
    'clips the gradient of mean and B; 0 = never',
    nonnegative.default(0),
    ofAdamW,
  ),
  rank: ofTraining('rank r of the adapters', count.default(8), { group }),
  alpha: ofTraining('scaling is alpha / rank', positive.default(16), { group }),
  loraDropout: ofTraining(
    'dropout on the input of the adapters',
    z.number().min(0).lt(1).default(0),
    {
      group,
    },
  ),
  targetModules: ofTraining(
    'layers that get an adapter (default: q_proj, v_proj and lm_head; of an encoder query and value; qkv_proj or Wqkv where these are one)',
    z.array(z.enum(MODULES)).min(1).optional(),
    { group },
  ),
  head: ofTraining(
    "an encoder's classification head: trained (the default), lora (its low-rank terms alone), or frozen",
    z.enum(['trained', 'lora', 'frozen']).optional(),
    { group },
  ),
  freshHead: ofTraining(
    'start the head from the seed, even where the base has one',
    z.boolean().default(false),
    {
      group,
    },
  ),
  baseDropout: ofTraining(
    "dropout of an encoder's own activations in training, as its base had it (default: none)",
    z.number().min(0).lt(1).optional(),
    { group },
  ),
  initAdapter: ofTraining(
    'start from this adapter: folder, or org/name[@revision][:folder] of the Hub',
    name.optional(),
    {
      group,
      recorded: 'name',
      placeholder: 'dir',
    },
  ),
  checkpointEvery: ofTraining(
    'steps between checkpoints; 0 = only at the end',
    z.int().nonnegative().default(100),
    { group, decides: 'nothing' },
  ),
  checkpointing: ofTraining(
    'activations computed again instead of kept: what does not fit half the free memory, none, or all',
    z.enum(['auto', 'none', 'full']).default('auto'),
    { group, decides: 'nothing' },
  ),
  evalDataset: ofTraining(
    'datasets to evaluate (default: the training one)',
    z.array(name).min(1).optional(),
    { ...SHOWN, recorded: 'name', placeholder: 'dataset' },
  ),
  evalEvery: ofTraining(
    'steps between evaluations; 0 = only at the end',
    z.int().nonnegative().default(0),
    {
      group: 'Evaluation and prediction',
      decides: 'nothing',
    },
  ),
  evalSamples: ofTraining(
    'posterior samples per evaluation; 0 = posterior mean',
    sampleCounts.default([10]),
    SHOWN,
  ),
  evalLimit: ofTraining('evaluate only the first N rows of each split', count.optional(), SHOWN),
};
