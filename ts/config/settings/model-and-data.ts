/** Which model, which rows. */

import { z } from 'zod';
import { PRECISIONS, QUANTIZATIONS } from '../../engine/arithmetic.ts';
import { MAX_THREADS } from '../../engine/threads.ts';
import { COMMAND_NAMES, count, type Facts, inAll, name, setting, WITH_MODEL } from '../setting.ts';

/** Decides what is trained; an evaluation takes it over. */
const FACTS = {
  group: 'Model and data',
  decides: 'training',
  recorded: 'value',
  isInherited: true,
} as const satisfies Facts;

const MACHINE = { ...FACTS, decides: 'nothing', isInherited: false } as const satisfies Facts;

export const MODEL_AND_DATA = {
  model: setting(
    'model folder, .gguf file, org/name[@revision][:file], builtin:tiny or builtin:random',
    inAll(WITH_MODEL, name.optional()),
    { ...FACTS, recorded: 'name', placeholder: 'model' },
  ),
  dataset: setting(
    'dataset: name, folder or file',
    {
      train: name.optional().describe('dataset to train on: name, folder or file'),
      bayesianize: name
        .optional()
        .describe("dataset of the anchors (default: the run's or the adapter's)"),
      eval: z
        .array(name)
        .min(1)
        .optional()
        .describe("datasets: names, folders or files (default: the run's)"),
      predict: name
        .optional()
        .describe("dataset whose prompt to use (default: the run's or the adapter's)"),
    },
    { ...FACTS, recorded: 'name', placeholder: 'dataset' },
  ),
  dataDir: setting(
    'folder that holds the datasets by name',
    inAll(['train', 'bayesianize', 'eval'], name.optional()),
    {
      ...FACTS,
      decides: 'nothing',
      recorded: 'place',
      placeholder: 'dir',
    },
  ),
  lock: setting(
    'lock file, as bpeft lock writes it: read the model and the rows that it holds, or refuse',
    { train: name.optional() },
    { ...FACTS, decides: 'nothing', recorded: 'nothing', isInherited: false, placeholder: 'file' },
  ),
  task: setting(
    "what one's own rows are (default: by their fields)",
    inAll(WITH_MODEL, z.enum(['multiple-choice', 'classification']).optional()),
    FACTS,
  ),
  columns: setting(
    "columns of one's own rows that hold the fields, as question=prompt,choices=a+b+c,answer=gold",
    inAll(WITH_MODEL, z.array(name).min(1).optional()),
    { ...FACTS, placeholder: 'field=column' },
  ),
  labels: setting(
    'class names of a classification dataset, in order',
    inAll(WITH_MODEL, z.array(name).min(2).optional()),
    FACTS,
  ),
  trainSplit: setting(
    'split to train on, or that TFB and Laplace read, or a part, train[:80%] (default: that of the adapter or the dataset, mostly train)',
    inAll(['train', 'bayesianize'], name.optional()),
    { ...FACTS, isInherited: false },
  ),
  split: setting(
    "splits to evaluate, or parts, test[50%:] (default: the dataset's, mostly validation)",
    inAll(['train', 'eval'], z.array(name).min(1).optional()),
    { ...FACTS, decides: 'evaluation' },
  ),
  maxSeqLen: setting('longest prompt in tokens', inAll(WITH_MODEL, z.int().min(8).default(300)), {
    ...FACTS,
    ofAdapter: 'prompt',
  }),
  seed: setting(
    'seed of initial values, order and noise',
    inAll(COMMAND_NAMES, z.int().nonnegative().default(1)),
    FACTS,
  ),
  device: setting('auto, cpu or cuda[:N]', inAll(WITH_MODEL, name.default('auto')), {
    ...MACHINE,
    placeholder: 'device',
  }),
  deterministic: setting(
    "on a GPU: a row's bits depend on that row alone, by one algorithm for the products of each weight",
    inAll(WITH_MODEL, z.boolean().default(false)),
    MACHINE,
  ),
  cudaGraphs: setting(
    'on a GPU: steps and answers of a shape that was seen twice run as one graph of launches',
    inAll(WITH_MODEL, z.boolean().default(false)),
    MACHINE,
  ),
  threads: setting(
    'worker threads (default: all cores)',
    inAll(COMMAND_NAMES, count.max(MAX_THREADS).optional()),
    MACHINE,
  ),
  precision: setting(
    'what products with frozen weights round to (bf16: and attention); mixed leaves inputs of 6 and more exact',
    inAll(WITH_MODEL, z.enum(PRECISIONS).default('f32')),
    { ...FACTS, ofAdapter: 'arithmetic', placeholder: 'type' },
  ),
  quantize: setting(
    'quantise the blocks when they are read; a matrix that q4_k or nf4 does not fit takes q8_0',
    inAll(WITH_MODEL, z.enum(QUANTIZATIONS).default('none')),
    { ...FACTS, ofAdapter: 'arithmetic', placeholder: 'type' },
  ),
};
