/**
 * Deep ensemble (Lakshminarayanan et al., arXiv 1612.01474): members over one frozen model, trained
 * side by side in the same passes. Member j is the maximum-likelihood run of seed + j, with its own
 * start and its own order of the rows.
 */

import { z } from 'zod';
import { ofTraining, type SettingsOf } from '../config/setting.ts';
import type { Method } from './method.ts';
import { MLE } from './mle.ts';

export const ENSEMBLE_SETTINGS = {
  members: ofTraining('members, each a run of its own seed', z.int().min(2).max(64).default(3), {
    group: 'Ensemble',
    methods: ['ensemble'],
  }),
};

export const ENSEMBLE: Method<SettingsOf<typeof ENSEMBLE_SETTINGS, 'train'>> = {
  ...MLE,
  id: 'ensemble',
  adapter: ({ members }) => ({ posterior: null, members }),
  // The reference averages the members' logits.
  predictive: (_adapter, { protocol, noise }) => ({
    dropout: 0,
    noise,
    average: protocol === 'reference' ? 'logits' : 'probabilities',
  }),
};
