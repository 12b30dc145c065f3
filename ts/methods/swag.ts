/**
 * SWAG (Maddox et al., arXiv 1902.02476) of the factors of LoRA (SWAG-LoRA, arXiv 2405.03425):
 * AdamW at a constant rate from some update on, and a Gaussian over A and B of the moments of where
 * it goes.
 */

import { z } from 'zod';
import { count, nonnegative, ofTraining, positive, type SettingsOf } from '../config/setting.ts';
import { BpeftError } from '../errors.ts';
import type { Method } from './method.ts';
import { MLE } from './mle.ts';

const ours = { group: 'SWAG', methods: ['swag'] } as const;

export const SWAG_SETTINGS = {
  swagStart: ofTraining(
    'share of the updates before the constant rate',
    z.number().min(0).lt(1).default(0.5),
    ours,
  ),
  swagLr: ofTraining(
    'constant rate from there on (default: half of --lr)',
    positive.optional(),
    ours,
  ),
  swagEvery: ofTraining(
    'updates from one collected point to the next (default: an epoch)',
    count.optional(),
    ours,
  ),
  swagRank: ofTraining(
    'K, collected points that make the covariance of low rank',
    z.int().min(2).max(20).default(5),
    ours,
  ),
  swagScale: ofTraining("factor of the covariance; 1 is the paper's", nonnegative.default(1), ours),
};

type SwagSettings = SettingsOf<typeof SWAG_SETTINGS, 'train'>;

export const SWAG: Method<SwagSettings> = {
  ...MLE,
  id: 'swag',
  engineOptions: (settings, { updates, updatesPerEpoch }, point) => {
    const start = Math.round(settings.swagStart * updates);
    const every = settings.swagEvery ?? updatesPerEpoch;
    const collected = Math.floor((updates - start) / every);
    if (collected < 2) {
      const message = `SWAG needs 2 collected points or more: --swag-start ${settings.swagStart} leaves ${updates - start} updates, of which one in ${every} is collected`;
      throw new BpeftError('BPEFT_USAGE', message, {
        hint: 'give a smaller --swag-every, or train longer',
      });
    }
    const { swagLr, swagRank, swagScale } = settings;
    return {
      id: 'swag',
      point,
      start,
      every,
      lr: swagLr ?? point.lr / 2,
      deviations: swagRank,
      scale: swagScale,
    };
  },
  // Whole draws: the covariance hangs layers together.
  predictive: () => ({ dropout: 0, average: 'probabilities', noise: 'shared' }),
};
