/**
 * IVON (Shen et al., arXiv 2402.17641), as IVON-LoRA uses it (arXiv 2411.04421, 2506.14280): a
 * Gaussian over A and B whose widths follow the curvature, trained by a variational Newton method.
 * `--weight-decay` is its δ.
 *
 * ```text
 * |Δm| ≤ lr·ξ per update          lr = 0.03·10000/updates          λ = 1e6
 * ```
 *
 * The published rate of 0.03 is one of ten thousand updates, each of which moves no mean by more
 * than ξ = 1e-3 of it; a shorter run goes as far by a larger rate. λ is the first paper's for sets
 * like ARC, whatever their size.
 */

import { z } from 'zod';
import { nonnegative, ofTraining, positive, type SettingsOf } from '../config/setting.ts';
import type { Method } from './method.ts';

const PUBLISHED = { lr: 0.03, updates: 10_000 };

const ours = { group: 'IVON', methods: ['ivon'] } as const;

export const IVON_SETTINGS = {
  ivonLr: ofTraining(
    'peak learning rate of IVON (default: 300 / updates, which is 0.03 in ten thousand)',
    positive.optional(),
    ours,
  ),
  effectiveRows: ofTraining(
    'lambda, the rows that the posterior counts',
    positive.default(1e6),
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
  engineOptions: (settings, { updates }, { schedule, weightDecay }) => ({
    id: 'ivon',
    lr: settings.ivonLr ?? (PUBLISHED.lr * PUBLISHED.updates) / updates,
    schedule,
    effectiveRows: settings.effectiveRows,
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
