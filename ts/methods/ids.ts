/** The names of methods: those that this version trains, and those that have a name already. */

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
  'ivon',
  'swag',
] as const;
export type MethodId = (typeof METHODS)[number];

/** What `train` offers. */
export const TRAINED_METHODS = ['mle', 'mc-dropout', 'ensemble', 'blob'] as const satisfies MethodId[];

export const DEFAULT_METHOD: MethodId = 'blob';

/** Those that draw weights from a posterior. */
export const POSTERIOR_METHODS: readonly MethodId[] = ['blob'];
