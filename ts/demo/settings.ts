/**
 * What the demonstration trains, tuned on the validation split (`cmd/demo/tune.sh`,
 * docs/results.md).
 */

import type { TrainOptions } from '../config/schema.ts';

export const LABELLED_SPLITS = ['test', 'shift'] as const;
export const FOREIGN_SPLIT = 'ood';
export const DEMO_SAMPLES = 10;

export const DEMO_MODEL = 'builtin:tiny';
export const DEMO_DATASET = 'builtin:exam-topics';

/** Both methods. */
const SHARED: TrainOptions = {
  model: DEMO_MODEL,
  dataset: DEMO_DATASET,
  epochs: 10,
  batchSize: 8,
  lr: 3e-3,
  checkpointEvery: 100,
  evalBatchSize: 64,
};

export const DEMO_TRAINING = {
  mle: { ...SHARED, method: 'mle' },
  blob: { ...SHARED, method: 'blob', klLr: 0.0075 },
} as const satisfies Record<string, TrainOptions>;
