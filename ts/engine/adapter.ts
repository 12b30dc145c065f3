/** An adapter of a loaded model: a thin handle on the engine, as the model's is. */

import { mkdir } from 'node:fs/promises';
import type { RaggedBatch } from '../batches/ragged-batch.ts';
import { throwIfAborted } from '../errors.ts';
import type { DataProtocol } from '../protocol/data-protocol.ts';
import { abortable, freed, native } from './abort.ts';
import type { NativeAdapter } from './addon.d.ts';
import { type CallOptions, told } from './call.ts';

/**
 * How σ follows from ρ: ρ² or ln(1 + e^ρ) of factors; e^ρ of scales; (1 + e^−ρ)⁻² of a context.
 */
export type Sigma = 'square' | 'softplus' | 'exp' | 'squared-logistic';

/** Which factors are Gaussian, or what between them. */
export type GaussianOver = 'a' | 'a-and-b' | 'scales' | 'context';

export interface AdapterOptions {
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly targetModules: readonly string[];
  /** Null: a point adapter. */
  readonly posterior: {
    readonly sigma: Sigma;
    readonly initEps: number;
    /** `a` unless given. */
    readonly over?: GaussianOver;
  } | null;
  readonly seed: number;
  /** Of an ensemble; 1 unless given. Member j starts as an adapter of seed + j does. */
  readonly members?: number;
  /** The classification head: an encoder needs one, a decoder has none. */
  readonly head?: {
    readonly classes: number;
    /**
     * Whether it is trained, with the optimizer of the factors; if not, it is frozen, and may have
     * low-rank terms.
     */
    readonly trained: boolean;
    /** Whether it starts from the seed even where the base has one; false unless given. */
    readonly fresh?: boolean;
  };
}

/** Quantiles over the weights of one layer. */
export interface LayerQuantiles {
  /** Hugging Face's, such as `model.layers.3.self_attn.q_proj`. */
  readonly name: string;
  readonly values: readonly number[];
}

export interface AdapterInfo {
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly targetModules: readonly string[];
  readonly bayesian: boolean;
  readonly sigma: Sigma | null;
  /** Null: a point adapter, or one with a curvature. */
  readonly over: GaussianOver | null;
  readonly trainableParameters: number;
  readonly tensors: number;
  /** Of an ensemble; 1 otherwise. */
  readonly members: number;
  readonly sigmaMean: number | null;
  /** λ of an adapter with the curvature of Laplace's approximation; null: it has none. */
  readonly priorPrecision: number | null;
  /** Of an encoder. */
  readonly head: { readonly classes: number; readonly trained: boolean } | null;
  /** What loading had to leave out or assume. */
  readonly notices: readonly string[];
}

export interface PredictiveOptions {
  /** Posterior samples; 0 = posterior mean. */
  readonly samples: number;
  /** Index of the first sample, for chunks of N. */
  readonly firstSample?: number;
  readonly noise: 'token' | 'example' | 'shared';
  /** `antithetic`: samples 2j and 2j + 1 mirror each other at the mean; `plain` unless given. */
  readonly sampling?: DataProtocol['sampling'];
  readonly seed: number;
  /**
   * Probability with which a sample drops an input of a low-rank term (Monte Carlo dropout); 0
   * unless given.
   */
  readonly dropout?: number;
  /** Only the last K layers sample; null = all. */
  readonly stochasticLayers: number | null;
  /**
   * How an adapter with a curvature answers, unless `samples` is 0: in closed form, as logarithms
   * of probabilities in one pass (`probit` unless given, `bridge`), or by samples of the logits.
   */
  readonly link?: 'probit' | 'bridge' | 'sample' | undefined;
}

/** Made by `BayesianModel.createAdapter` and `BayesianModel.loadAdapter`. */
export class Adapter implements AsyncDisposable {
  readonly #native: NativeAdapter;

  private constructor(handle: NativeAdapter) {
    this.#native = handle;
  }

  /** @internal */
  static of(handle: NativeAdapter): Adapter {
    return new Adapter(handle);
  }

  get info(): AdapterInfo {
    return JSON.parse(this.#native.info()) as AdapterInfo;
  }

  /**
   * Class logits, (members × max(samples, 1) × S): of each member its samples, S = the batch's
   * answers, one prompt after another. What has no randomness gives (members × S).
   */
  predict(
    batch: RaggedBatch,
    options: PredictiveOptions,
    call: CallOptions = {},
  ): Promise<Float32Array> {
    // Callers hand over a whole run's settings; the engine refuses what is not its own.
    const { samples, firstSample, noise, sampling, seed, dropout, stochasticLayers, link } =
      options;
    const antithetic = sampling === 'antithetic';
    const own = { samples, firstSample, noise, antithetic, seed, dropout, stochasticLayers, link };
    const text = JSON.stringify(own);
    return abortable(call.signal, (abort) => this.#native.predict(batch, text, abort));
  }

  /**
   * The same weights as a Gaussian over A whose noise is isotropic in the column space of each B,
   * of scale 1; places before the last `stochasticLayers` get none.
   */
  async isotropic(options: {
    readonly rule: 'exact' | 'reference';
    readonly stochasticLayers: number | null;
  }): Promise<Adapter> {
    return new Adapter(await native(() => this.#native.isotropic(JSON.stringify(options))));
  }

  /** The same mean with every sigma times `factor`; sigma must be rho squared. */
  async withSigmaTimes(factor: number): Promise<Adapter> {
    return new Adapter(await native(() => this.#native.withSigmaTimes(factor)));
  }

  /** KL(q‖p) in nats, summed over all weights. */
  kl(options: { priorStd: number; form: 'exact' | 'reference' }): Promise<number> {
    return native(() => this.#native.kl(JSON.stringify(options)));
  }

  /** Quantiles of σ in each layer; empty for a point estimate. */
  async sigmaQuantiles(fractions: readonly number[]): Promise<readonly LayerQuantiles[]> {
    const text = await native(() => this.#native.sigmaQuantiles(JSON.stringify({ fractions })));
    const layers = JSON.parse(text) as [name: string, values: number[]][];
    return layers.map(([name, values]) => ({ name, values }));
  }

  /**
   * Writes PEFT's two files into `folder`, which is made when missing. A signal is heard before: a
   * write that has begun ends, so that no half of an adapter is left.
   */
  async save(
    folder: string,
    options: { baseModel: string },
    call: CallOptions = {},
  ): Promise<void> {
    throwIfAborted(call.signal);
    await mkdir(folder, { recursive: true });
    const text = JSON.stringify({ baseModelNameOrPath: options.baseModel });
    const what = { activity: 'saving', unit: 'tensors', total: this.info.tensors } as const;
    await told(call, what, () => native(() => this.#native.save(folder, text)));
  }

  /** @internal The engine's handle, for {@link Trainer}. */
  get handle(): NativeAdapter {
    return this.#native;
  }

  /**
   * Waits for running work and frees the weights; later calls, also of a trainer, reject with
   * `BPEFT_WORKER_STOPPED`.
   */
  dispose(): Promise<void> {
    return freed(() => this.#native.dispose());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
