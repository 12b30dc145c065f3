/**
 * ScalaBL (arXiv 2506.21408): W = W₀ + s·B·diag(λ)·V with a Gaussian over the r scales λ of each
 * layer. Everything is trained by AdamW on a sampled likelihood, the scales by SGD on the KL to a
 * Gaussian prior, which is weighted as BLoB's.
 */

import { ofTraining, positive, type SettingsOf } from '../config/setting.ts';
import { type BlobSettings, klCycle } from './blob.ts';
import { forecastKl } from './kl-plan.ts';
import type { Method } from './method.ts';

const ours = { group: 'ScalaBL', methods: ['scalabl'] } as const;

export const SCALABL_SETTINGS = {
  scalePriorStd: ofTraining(
    'standard deviation of the prior of the scales',
    positive.default(1),
    ours,
  ),
  scaleKlLr: ofTraining("peak learning rate of the KL's SGD", positive.default(0.2), ours),
};

type ScalaBlSettings = SettingsOf<typeof SCALABL_SETTINGS, 'train'> & BlobSettings;

export const SCALABL: Method<ScalaBlSettings> = {
  id: 'scalabl',
  hasPosterior: true,
  adapter: ({ initEps }) => ({
    posterior: { sigma: 'exp', initEps, over: 'scales' },
    members: 1,
  }),
  engineOptions: (settings, accounting, point) => ({
    id: 'scalabl',
    point,
    priorStd: settings.scalePriorStd,
    klLr: settings.scaleKlLr,
    klCycle: klCycle(settings, accounting),
    trainSamples: settings.trainSamples,
    average: settings.average,
  }),
  // Samples are what training drew: one scale of a direction for all rows.
  predictive: () => ({ dropout: 0, average: 'probabilities', noise: 'shared' }),
  klPlan: (settings, accounting, { sigmaMean }) => {
    const { scalePriorStd: priorStd, scaleKlLr: klLr } = settings;
    const kl = { priorStd, klLr, klForm: 'exact', sigma: 'exp', sigmaStart: sigmaMean } as const;
    return forecastKl(kl, klCycle(settings, accounting), accounting);
  },
  record: ({ scalePriorStd }) => ({ prior_std: scalePriorStd }),
};
