/** The names of methods. */

export const METHODS = [
  'mle',
  'map',
  'mc-dropout',
  'ensemble',
  'bbb',
  'blob',
  'laplace',
  'tfb',
  'temperature',
  'scalabl',
  'c-lora',
  'ivon',
  'swag',
] as const;
export type MethodId = (typeof METHODS)[number];

/** What `train` offers. */
export const TRAINED_METHODS = [
  'mle',
  'map',
  'mc-dropout',
  'ensemble',
  'bbb',
  'blob',
  'ivon',
  'swag',
  'scalabl',
  'c-lora',
] as const satisfies MethodId[];

export const DEFAULT_METHOD: MethodId = 'blob';

/** What `bayesianize` offers. */
export const AFTER_TRAINING_METHODS = ['laplace', 'tfb'] as const satisfies MethodId[];
export type AfterTrainingId = (typeof AFTER_TRAINING_METHODS)[number];

export const DEFAULT_AFTER_TRAINING: AfterTrainingId = 'tfb';

/** Those of which it is known what their answers depend on. */
export const ANSWERING_METHODS: readonly MethodId[] = [
  ...TRAINED_METHODS,
  ...AFTER_TRAINING_METHODS,
];

/** Those whose answers depend on more than points. */
export const UNCERTAIN_METHODS: readonly MethodId[] = ANSWERING_METHODS.filter(
  (id) => id !== 'mle' && id !== 'map' && id !== 'ensemble',
);

/** Those whose points AdamW moves. */
export const ADAMW_METHODS: readonly MethodId[] = TRAINED_METHODS.filter((id) => id !== 'ivon');

/** BLoB alone. */
export const POSTERIOR_METHODS: readonly MethodId[] = ['blob'];

/** Those of which rows may share their noise, in training and answers. */
export const SHARING_METHODS: readonly MethodId[] = [...POSTERIOR_METHODS, 'c-lora'];

/** Those whose KL is dealt out over cycles of updates. */
export const CYCLE_METHODS: readonly MethodId[] = [...SHARING_METHODS, 'scalabl'];

/** Those that draw weights in each update. */
export const DRAWING_METHODS: readonly MethodId[] = [
  ...POSTERIOR_METHODS,
  'bbb',
  'ivon',
  'scalabl',
  'c-lora',
];

/** Those whose samples can be mirrored at the mean. */
export const GAUSSIAN_METHODS: readonly MethodId[] = [...DRAWING_METHODS, 'swag', 'laplace'];

/** Those that are made by looks at answers, drawn as those of the adapter are. */
export const LOOKING_METHODS: readonly MethodId[] = ['tfb'];
