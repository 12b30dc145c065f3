/** The curvature of a loss around an adapter, gathered batch by batch: Laplace's approximation. */

import type { RaggedBatch } from '../batches/ragged-batch.ts';
import { abortable, freed, native } from './abort.ts';
import { Adapter } from './adapter.ts';
import type { NativeCurvature } from './addon.d.ts';
import type { CallOptions } from './call.ts';
import type { BayesianModel } from './model.ts';
import { loadNative } from './native.ts';

export interface CurvatureOptions {
  /** Directions that are kept of a factor wider than 64; at most 128. */
  readonly rank: number;
  /** Most bytes of all factors. */
  readonly memoryBytes: number;
  /** Tokens that are a class of any row; of a head over a vocabulary they count as memory. */
  readonly classTokens: number;
  /** Places that are covered, from the end; null = all. */
  readonly stochasticLayers: number | null;
}

/** What the rows say of a prior. */
export interface Evidence {
  /** λ. */
  readonly precision: number;
  /** ln Z, nats. */
  readonly logEvidence: number;
  /** γ, the parameters that the rows determine. */
  readonly determined: number;
  /** Sum over the rows, nats. */
  readonly nll: number;
  readonly rows: number;
}

/** f ~ N(mean, covariance), linearised in the weights. */
export interface LogitGaussian {
  /** (S), of all prompts. */
  readonly mean: Float64Array;
  /** Of each prompt, (C × C) row by row. */
  readonly covariances: readonly Float64Array[];
}

/** Made by {@link Curvature.create}; after an error it is of no use. */
export class Curvature implements AsyncDisposable {
  readonly #native: NativeCurvature;

  private constructor(handle: NativeCurvature) {
    this.#native = handle;
  }

  /** @throws {BpeftError} `BPEFT_INVALID_INPUT`: more memory than allowed, saying what fits. */
  static async create(
    model: BayesianModel,
    adapter: Adapter,
    options: CurvatureOptions,
  ): Promise<Curvature> {
    const text = JSON.stringify(options);
    const { NativeCurvature } = loadNative();
    return new Curvature(
      await native(() => NativeCurvature.create(model.handle, adapter.handle, text)),
    );
  }

  /** Adds a batch of labelled rows; the sum of their NLL, nats. */
  add(batch: RaggedBatch, { signal }: CallOptions = {}): Promise<number> {
    return abortable(signal, (abort) => this.#native.add(batch, abort));
  }

  /** Of a λ; of the one of largest evidence where none is given. From here on no row is added. */
  async evidence(precision?: number): Promise<Evidence> {
    return JSON.parse(await native(() => this.#native.evidence(precision))) as Evidence;
  }

  /** Sum over a batch's rows of the NLL of their answers, nats, for each λ. */
  nll(
    batch: RaggedBatch,
    precisions: Float64Array,
    { signal }: CallOptions = {},
  ): Promise<Float64Array> {
    return abortable(signal, (abort) => this.#native.nll(batch, precisions, abort));
  }

  /** The Gaussian over the logits of a batch's prompts under a λ. */
  async gaussian(
    batch: RaggedBatch,
    precision: number,
    { signal }: CallOptions = {},
  ): Promise<LogitGaussian> {
    const all = await abortable(signal, (abort) => this.#native.gaussian(batch, precision, abort));
    let from = batch.answers.length;
    const mean = all.slice(0, from);
    const prompts = Array.from(batch.labels.keys());
    const covariances = prompts.map((prompt) => {
      const { answerOffsets } = batch;
      const classes = (answerOffsets[prompt + 1] ?? 0) - (answerOffsets[prompt] ?? 0);
      const own = all.slice(from, from + classes * classes);
      from += classes * classes;
      return own;
    });
    return { mean, covariances };
  }

  /** The adapter with the posterior of a λ. */
  async adapter(precision: number): Promise<Adapter> {
    return Adapter.of(await native(() => this.#native.adapter(precision)));
  }

  /** Waits for running work and frees the sums; the adapter stays. */
  dispose(): Promise<void> {
    return freed(() => this.#native.dispose());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
