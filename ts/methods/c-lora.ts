/**
 * C-LoRA (arXiv 2505.17773): h = E(z)·z between A and B, z = A·x, with a Gaussian over the r × r
 * matrix E whose mean and width a small network makes of each token. AdamW trains A and B, SGD the
 * networks; the KL to a Gaussian prior weighs next to nothing, as published.
 */

import { nonnegative, ofTraining, positive, type SettingsOf } from '../config/setting.ts';
import { type BlobSettings, klCycle } from './blob.ts';
import type { Method } from './method.ts';

const ours = { group: 'C-LoRA', methods: ['c-lora'] } as const;

export const C_LORA_SETTINGS = {
  contextLr: ofTraining(
    'peak learning rate of the networks that make the Gaussian',
    positive.default(0.02),
    ours,
  ),
  contextPriorStd: ofTraining(
    'standard deviation of the prior of their matrices',
    positive.default(0.2),
    ours,
  ),
  contextKl: ofTraining(
    'weight of the KL of a token, mean over layers, beside the mean NLL',
    nonnegative.default(1e-6),
    ours,
  ),
};

type CLoraSettings = SettingsOf<typeof C_LORA_SETTINGS, 'train'> & BlobSettings;

export const C_LORA: Method<CLoraSettings> = {
  id: 'c-lora',
  hasPosterior: true,
  // The networks decide where sigma starts.
  adapter: () => ({
    posterior: { sigma: 'squared-logistic', initEps: 1, over: 'context' },
    members: 1,
  }),
  engineOptions: (settings, accounting, point) => ({
    id: 'c-lora',
    point,
    priorStd: settings.contextPriorStd,
    contextLr: settings.contextLr,
    klWeight: settings.contextKl,
    klCycle: klCycle(settings, accounting),
    trainSamples: settings.trainSamples,
    average: settings.average,
    noise: settings.noise,
  }),
  predictive: (_adapter, { noise }) => ({ dropout: 0, average: 'probabilities', noise }),
  klPlan: () => Promise.resolve(null),
  // The KL depends on the input: an adapter by itself has none.
  record: () => ({ prior_std: null }),
};
