/** Maximum likelihood: plain LoRA (Hu et al., arXiv 2106.09685), a point that no prior pulls. */

import type { Method } from './method.ts';

export const MLE: Method<unknown> = {
  id: 'mle',
  hasPosterior: false,
  adapter: () => ({ posterior: null, members: 1 }),
  engineOptions: (_settings, _accounting, point) => ({ id: 'mle', point }),
  predictive: (_adapter, { noise }) => ({ dropout: 0, average: 'probabilities', noise }),
  klPlan: () => Promise.resolve(null),
  record: () => ({ prior_std: null }),
};
