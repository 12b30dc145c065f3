/** Which adapter is asked, and how its answers are drawn. */

import { z } from 'zod';
import { LOOKING_METHODS, UNCERTAIN_METHODS } from '../../methods/ids.ts';
import {
  count,
  type Facts,
  inAll,
  name,
  positive,
  sampleCount,
  sampleCounts,
  setting,
  WITH_MODEL,
} from '../setting.ts';

const FACTS = {
  group: 'Evaluation and prediction',
  decides: 'evaluation',
  recorded: 'value',
  isInherited: false,
} as const satisfies Facts;

const ANSWERING = ['bayesianize', 'eval', 'predict'] as const;

export const PREDICTION = {
  run: setting(
    'folder of a training run (gives model, adapter, dataset and seed)',
    inAll(ANSWERING, name.optional()),
    { ...FACTS, recorded: 'nothing', placeholder: 'dir' },
  ),
  adapter: setting(
    'adapter: folder, or org/name[@revision][:folder] of the Hub',
    inAll(ANSWERING, name.optional()),
    {
      ...FACTS,
      recorded: 'name',
      placeholder: 'dir',
    },
  ),
  stochasticLayers: setting(
    'layers that sample: all, or last:K; the head counts as the last',
    inAll(
      ANSWERING,
      z
        .string()
        .regex(/^(all|last:[1-9]\d*)$/, 'must be all or last:K')
        .default('all'),
    ),
    {
      ...FACTS,
      placeholder: 'all|last:k',
      methodsIn: { eval: UNCERTAIN_METHODS, predict: UNCERTAIN_METHODS },
    },
  ),
  samples: setting(
    'posterior samples; 0 = posterior mean',
    {
      bayesianize: count
        .max(1024)
        .default(10)
        .describe('posterior samples of each look at the anchors'),
      eval: sampleCounts.default([10]),
      predict: z
        .union([z.literal('auto'), sampleCount])
        .default(10)
        .describe(
          'posterior samples; 0 = posterior mean, auto = until a row seems steady, at most 256',
        ),
    },
    {
      ...FACTS,
      methodsIn: { bayesianize: LOOKING_METHODS },
      rule: 'auto or a whole number from 0 to 65536',
    },
  ),
  evalBatchSize: setting(
    'prompts per evaluation batch (default: 16; in protocol reference the batch size)',
    inAll(WITH_MODEL, count.optional()),
    { ...FACTS, isInherited: true },
  ),
  limit: setting('only the first N rows of each split', { eval: count.optional() }, FACTS),
  onLong: setting(
    'a prompt longer than --max-seq-len: cut it and say so, or refuse the row',
    { predict: z.enum(['cut', 'error']).default('cut') },
    FACTS,
  ),
  badRows: setting(
    'a row that cannot be answered: a line with the error in its place, or none',
    { predict: z.enum(['error', 'skip']).default('error') },
    { ...FACTS, decides: 'nothing' },
  ),
  temperature: setting(
    'also measure the probabilities under a temperature: a number, or fitted on rows that are held out',
    {
      ...inAll(['train', 'eval'], z.union([z.literal('fit'), positive]).optional()),
      predict: positive
        .optional()
        .describe('temperature of the answers, such as one that eval has fitted'),
    },
    { ...FACTS, rule: 'fit or a number greater than 0' },
  ),
  temperatureSplit: setting(
    "split of the training dataset to fit it on (default: the dataset's, mostly validation)",
    inAll(['train', 'eval'], name.optional()),
    FACTS,
  ),
  saveSamples: setting(
    "also save each sample's probabilities",
    { eval: z.boolean().default(false) },
    { ...FACTS, decides: 'nothing' },
  ),
};
