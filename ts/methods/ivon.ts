/**
 * IVON (Shen et al., arXiv 2402.17641), as IVON-LoRA uses it (arXiv 2411.04421): a Gaussian over A
 * and B whose widths follow the curvature, trained by a variational Newton method. `--weight-decay`
 * is its δ.
 */

import { z } from 'zod';
import { nonnegative, ofTraining, positive, type SettingsOf } from '../config/setting.ts';
import type { Method } from './method.ts';

const ours = { group: 'IVON', methods: ['ivon'] } as const;

export const IVON_SETTINGS = {
  ivonLr: ofTraining('peak learning rate of IVON', positive.default(0.03), ours),
  effectiveRows: ofTraining(
    'lambda, the rows that the posterior counts (default: those of the training set)',
    positive.optional(),
    ours,
  ),
  initialHessian: ofTraining('curvature at the start', positive.default(1e-3), ours),
  hessianDecay: ofTraining(
    'beta2, how slowly the curvature is averaged',
    z.number().min(0).lt(1).default(0.99999),
    ours,
  ),
  ivonClip: ofTraining(
    'most that a mean moves, before the rate; 0 = any',
    nonnegative.default(1e-3),
    ours,
  ),
};

type IvonSettings = SettingsOf<typeof IVON_SETTINGS, 'train'> & {
  readonly initEps: number;
  readonly trainSamples: number;
};

export const IVON: Method<IvonSettings> = {
  id: 'ivon',
  hasPosterior: true,
  adapter: ({ initEps }) => ({
    posterior: { sigma: 'square', initEps, over: 'a-and-b' },
    members: 1,
  }),
  engineOptions: (settings, { rowsPerEpoch }, { schedule, weightDecay }) => ({
    id: 'ivon',
    lr: settings.ivonLr,
    schedule,
    effectiveRows: settings.effectiveRows ?? rowsPerEpoch,
    weightDecay,
    initialHessian: settings.initialHessian,
    beta1: 0.9,
    beta2: settings.hessianDecay,
    clip: settings.ivonClip,
    trainSamples: settings.trainSamples,
  }),
  predictive: () => ({ dropout: 0, average: 'probabilities', noise: 'shared' }),
  klPlan: () => Promise.resolve(null),
  record: () => ({ prior_std: null }),
};
