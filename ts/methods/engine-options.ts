/** What the engine is told about a method: the members of its `MethodConfig`, in camel case. */

/** What is trained, and how. */
export type MethodOptions =
  | MleOptions
  | MapOptions
  | BbbOptions
  | BlobOptions
  | IvonOptions
  | SwagOptions
  | ScalaBlOptions
  | CLoraOptions;

/** AdamW on the point parameters. */
export interface PointOptions {
  readonly lr: number;
  readonly schedule: ScheduleOptions;
  readonly weightDecay: number;
  readonly adamEpsilon: number;
  /** Clips the NLL gradient of mean and B; 0 = never. */
  readonly maxGradNorm: number;
}

/** How all rates rise and fall in a run, in ticks. */
export interface ScheduleOptions {
  /** Until the rate is 0. */
  readonly total: number;
  /** Of them rising; may be fractional. */
  readonly warmup: number;
  /** Where in the warm-up the first update stands; at 0 its rate is 0. */
  readonly warmupStart: number;
  /** Ticks per update. */
  readonly stride: number;
}

/** Maximum likelihood. */
export interface MleOptions {
  readonly id: 'mle';
  readonly point: PointOptions;
}

/** Maximum a posteriori, under N(0, priorStd²) on A and B. */
export interface MapOptions {
  readonly id: 'map';
  readonly point: PointOptions;
  readonly priorStd: number;
  /** Of the training set: the prior weighs 1/rows beside the mean NLL. */
  readonly rows: number;
}

/** Bayes by backprop, for adapters that are Gaussian over A, or over A and B. */
export interface BbbOptions {
  readonly id: 'bbb';
  readonly point: PointOptions;
  readonly priorStd: number;
  /** Of the training set: the KL weighs 1/rows beside the mean NLL. */
  readonly rows: number;
  readonly trainSamples: number;
}

/** BLoB. */
export interface BlobOptions {
  readonly id: 'blob';
  readonly point: PointOptions;
  readonly priorStd: number;
  readonly klForm: 'exact' | 'reference';
  readonly klLr: number;
  readonly klCycle: KlCycle;
  readonly trainSamples: number;
  readonly average: 'logits' | 'log-likelihood';
  readonly noise: 'token' | 'example' | 'shared';
}

/** IVON: a variational Newton method for adapters that are Gaussian over A and B. */
export interface IvonOptions {
  readonly id: 'ivon';
  readonly lr: number;
  readonly schedule: ScheduleOptions;
  /** λ, the effective number of rows. */
  readonly effectiveRows: number;
  /** δ; the prior is N(0, 1/(λδ)). */
  readonly weightDecay: number;
  readonly initialHessian: number;
  readonly beta1: number;
  readonly beta2: number;
  /** Most that a mean may move before its rate; 0 = any. */
  readonly clip: number;
  readonly trainSamples: number;
}

/** SWAG: AdamW, and the moments of where it goes. */
export interface SwagOptions {
  readonly id: 'swag';
  readonly point: PointOptions;
  /** Updates before the constant rate. */
  readonly start: number;
  /** Updates from one collected point to the next. */
  readonly every: number;
  /** The constant rate. */
  readonly lr: number;
  /** Columns of the covariance of low rank. */
  readonly deviations: number;
  /** Of the covariance. */
  readonly scale: number;
}

/** ScalaBL: a Gaussian over the scales of each layer. */
export interface ScalaBlOptions {
  readonly id: 'scalabl';
  readonly point: PointOptions;
  readonly priorStd: number;
  readonly klLr: number;
  readonly klCycle: KlCycle;
  readonly trainSamples: number;
  readonly average: 'logits' | 'log-likelihood';
}

/** C-LoRA: a Gaussian over a matrix between A and B that depends on the input. */
export interface CLoraOptions {
  readonly id: 'c-lora';
  readonly point: PointOptions;
  readonly priorStd: number;
  /** Of the SGD on the networks that make the Gaussian. */
  readonly contextLr: number;
  /** Of the KL of a token, mean over layers, beside the mean NLL. */
  readonly klWeight: number;
  readonly klCycle: KlCycle;
  readonly trainSamples: number;
  readonly average: 'logits' | 'log-likelihood';
  readonly noise: 'token' | 'example' | 'shared';
}

/**
 * How the weight of the KL runs over `length` updates: growing as 2^i to a pulse at the end, or
 * 1/length each.
 */
export interface KlCycle {
  readonly kind: 'pulse' | 'uniform';
  readonly length: number;
}
