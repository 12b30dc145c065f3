/** The two protocols: the preset, and the fields that it sets, each of which can be set alone. */

import { z } from 'zod';
import { GAUSSIAN_METHODS, LOOKING_METHODS } from '../../methods/ids.ts';
import { type DataProtocol, PROTOCOLS } from '../../protocol/data-protocol.ts';
import { type Facts, inAll, type Setting, setting, WITH_MODEL } from '../setting.ts';

const FACTS = {
  group: 'Protocol',
  decides: 'training',
  recorded: 'value',
  isInherited: true,
} as const satisfies Facts;

/** How a prompt is written: an adapter answers only those that it was trained on. */
const PROMPT = { ...FACTS, ofAdapter: 'prompt' } as const satisfies Facts;
const TRAINING = { ...FACTS, isInherited: false } as const satisfies Facts;
const EVALUATION = { ...FACTS, decides: 'evaluation' } as const satisfies Facts;

const MIRRORED = [...GAUSSIAN_METHODS, ...LOOKING_METHODS];

const FIELDS = {
  template: setting(
    'wording of the prompts',
    inAll(WITH_MODEL, z.enum(['reference', 'corrected']).optional()),
    PROMPT,
  ),
  classes: setting(
    "classes that compete: the dataset's K or the item's own",
    inAll(WITH_MODEL, z.enum(['dataset', 'item']).optional()),
    PROMPT,
  ),
  labelTokens: setting(
    'label token: last token of the label, or the one that continues the prompt',
    inAll(WITH_MODEL, z.enum(['last', 'continuation']).optional()),
    PROMPT,
  ),
  addSpace: setting(
    'with --label-tokens last: a space before the label',
    inAll(WITH_MODEL, z.boolean().optional()),
    PROMPT,
  ),
  eos: setting(
    'end-of-sequence token after the prompt',
    inAll(WITH_MODEL, z.enum(['llama-class', 'never']).optional()),
    PROMPT,
  ),
  truncation: setting(
    'what a too long prompt loses',
    inAll(WITH_MODEL, z.enum(['right', 'context']).optional()),
    PROMPT,
  ),
  order: setting(
    'order of the training rows',
    { train: z.enum(['file', 'shuffled']).optional() },
    TRAINING,
  ),
  lastBatch: setting(
    'an incomplete last training batch',
    { train: z.enum(['drop', 'keep']).optional() },
    TRAINING,
  ),
  evaluationTail: setting(
    'an incomplete last evaluation batch',
    inAll(['train', 'eval'], z.enum(['drop', 'keep']).optional()),
    EVALUATION,
  ),
  sampling: setting(
    'posterior samples: pairs that mirror each other at the mean, or all of their own',
    inAll(WITH_MODEL, z.enum(['antithetic', 'plain']).optional()),
    {
      ...{ ...EVALUATION, methods: GAUSSIAN_METHODS },
      methodsIn: { bayesianize: LOOKING_METHODS, eval: MIRRORED, predict: MIRRORED },
    },
  ),
  metricMean: setting(
    'what NLL and Brier average over',
    inAll(['train', 'eval'], z.enum(['batches', 'rows']).optional()),
    EVALUATION,
  ),
} satisfies Record<keyof DataProtocol, Setting>;

export const PROTOCOL = {
  protocol: setting(
    "preset: corrected, or the reference code's accounting",
    inAll(WITH_MODEL, z.enum(PROTOCOLS).default('corrected')),
    FACTS,
  ),
  ...FIELDS,
  processes: setting(
    'GPUs of the reference to account for; as many as train where WORLD_SIZE is set',
    inAll(['train', 'eval'], z.int().min(1).max(1024).default(1)),
    FACTS,
  ),
};
