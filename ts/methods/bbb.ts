/**
 * Bayes by backprop (Blundell et al., arXiv 1505.05424), the baseline of BLoB: a Gaussian over A,
 * or over A and B, one draw per batch, and AdamW on the whole evidence bound.
 */

import { z } from 'zod';
import { ofTraining, type SettingsOf } from '../config/setting.ts';
import type { Method } from './method.ts';

export const BBB_SETTINGS = {
  gaussian: ofTraining('which factors are Gaussian', z.enum(['a', 'a-and-b']).default('a'), {
    group: 'BBB',
    methods: ['bbb'],
  }),
};

type BbbSettings = SettingsOf<typeof BBB_SETTINGS, 'train'> & {
  readonly sigma: 'square' | 'softplus';
  readonly initEps: number;
  readonly priorStd: number;
  readonly trainSamples: number;
};

export const BBB: Method<BbbSettings> = {
  id: 'bbb',
  hasPosterior: true,
  adapter: ({ gaussian, sigma, initEps }) => ({
    posterior: { sigma, initEps, over: gaussian },
    members: 1,
  }),
  engineOptions: ({ priorStd, trainSamples }, { rowsPerEpoch }, point) => ({
    id: 'bbb',
    point,
    priorStd,
    rows: rowsPerEpoch,
    trainSamples,
  }),
  // Samples are what training drew: coherent, without signs.
  predictive: () => ({ dropout: 0, average: 'probabilities', noise: 'shared' }),
  klPlan: () => Promise.resolve(null),
  record: ({ priorStd }) => ({ prior_std: priorStd }),
};
