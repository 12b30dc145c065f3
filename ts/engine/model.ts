/**
 * A loaded base model and its adapters: thin handles on the engine, whose work runs on the model's
 * own thread.
 */

import { mkdir } from 'node:fs/promises';
import type { RaggedBatch } from '../batches/ragged-batch.ts';
import type { TextPair } from '../datasets/prompts/text-pair.ts';
import type { PairLists, TokenLists } from '../datasets/tokens/prompt-encoder.ts';
import { BpeftError, throwIfAborted } from '../errors.ts';
import type { DataProtocol } from '../protocol/data-protocol.ts';
import { abortable, freed, native, unlessAborted } from './abort.ts';
import type { NativeAdapter, NativeModel } from './addon.d.ts';
import { PRECISIONS, type Precision, QUANTIZATIONS, type Quantization } from './arithmetic.ts';
import { type CallOptions, told } from './call.ts';
import { openDevice } from './device.ts';
import { findModel } from './model-source.ts';
import { loadNative } from './native.ts';
import { tellingOfReading } from './reading.ts';
import { type ResolvedModel, resolveModel } from './resolved-model.ts';
import { threadCount } from './threads.ts';

export interface LoadModelOptions {
  /**
   * A folder, a `.gguf` file, `org/name[@revision][:file]` of the Hub, `builtin:tiny` or
   * `builtin:random`.
   */
  readonly model: string;
  /** Arithmetic of the frozen weights; `f32` unless given. */
  readonly precision?: Precision;
  /** Quantises the blocks' matrices when they are read; `none` unless given. */
  readonly quantize?: Quantization;
  /**
   * `cpu`, `cuda`, `cuda:1`; `auto` (unless given): what `BPEFT_DEVICE` says, else a GPU that can
   * be used, else the CPU.
   */
  readonly device?: string | undefined;
  /** The GPU that `cuda` and `auto` mean; the first, 0, unless given. */
  readonly ordinal?: number | undefined;
  /** Threads of the model's own pool: `BPEFT_NUM_THREADS`, or one per processor, unless given. */
  readonly threads?: number | undefined;
}

export interface ModelInfo {
  /**
   * A decoder answers by class tokens of its vocabulary, an encoder by a head that its adapter
   * brings.
   */
  readonly kind: 'decoder' | 'encoder';
  readonly architecture: string;
  readonly format: 'gguf' | 'safetensors' | 'random';
  readonly parameters: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly tieWordEmbeddings: boolean;
  readonly vocabSize: number;
  readonly maxPositionEmbeddings: number;
  readonly precision: Precision;
  readonly quantize: Quantization;
  /** dtype → number of tensors, as stored. */
  readonly tensorTypes: Readonly<Record<string, number>>;
  /** dtype → number of the blocks' matrices, as they are in memory (`quantize` changes them). */
  readonly blockTypes: Readonly<Record<string, number>>;
  readonly weightBytes: number;
  /**
   * Bytes of the weights as they are in memory; those of a mapped file are shared with other
   * processes.
   */
  readonly memoryBytes: number;
  /** `cpu` or `cuda:N`. */
  readonly device: string;
  /** What its maker calls the GPU. */
  readonly gpu: string | null;
  /** Why `auto` is no GPU, though the engine could use one. */
  readonly noGpu: string | null;
  /** Threads of the model's pool. */
  readonly threads: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly tokenizer: string;
  readonly llamaClassTokenizer: boolean;
  readonly addsBos: boolean;
  /** The classification head in the file of an encoder; null: there is none. */
  readonly head: { readonly classes: number } | null;
  /** What can be adapted: the engine's name of each module → that of the architecture. */
  readonly layerNames: Readonly<Record<string, string>>;
  /** What opening left out, and what an adapter starts anew. */
  readonly notices: readonly string[];
}

/**
 * How σ follows from ρ: ρ² or ln(1 + e^ρ) of factors; e^ρ of scales; (1 + e^−ρ)⁻² of a context.
 */
export type Sigma = 'square' | 'softplus' | 'exp' | 'squared-logistic';

export interface AdapterOptions {
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly targetModules: readonly string[];
  /** Null: a point adapter. */
  readonly posterior: {
    readonly sigma: Sigma;
    readonly initEps: number;
    /** Which factors are Gaussian, or what between them; `a` unless given. */
    readonly over?: 'a' | 'a-and-b' | 'scales' | 'context';
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
   * How an adapter with a curvature answers, unless `samples` is 0: in closed form, as logarithms of
   * probabilities in one pass (`probit` unless given, `bridge`), or by samples of the logits.
   */
  readonly link?: 'probit' | 'bridge' | 'sample' | undefined;
}

/**
 * Downloads a model of the Hub that the cache lacks, reads the files, hashes them meanwhile, and
 * keeps the weights until {@link BayesianModel.dispose}.
 * @throws {BpeftError} `BPEFT_MODEL_NOT_FOUND`, `BPEFT_MODEL_CORRUPT`, `BPEFT_UNSUPPORTED`,
 * `BPEFT_USAGE`, `BPEFT_DEVICE`, `BPEFT_OUT_OF_MEMORY`, `BPEFT_IO`, `BPEFT_ABORTED`.
 */
export async function loadModel(
  options: LoadModelOptions,
  call: CallOptions = {},
): Promise<BayesianModel> {
  throwIfAborted(call.signal);
  oneOf('precision', options.precision, PRECISIONS);
  oneOf('quantize', options.quantize, QUANTIZATIONS);
  const { device, noGpu } = await openDevice(options.device, options.ordinal);
  const found = await findModel(options.model, call);
  const { source } = found;
  const addon = loadNative();
  const threads = threadCount(options.threads);
  const { precision = 'f32', quantize = 'none' } = options;
  const text = JSON.stringify({
    source,
    precision,
    quantize: quantize === 'none' ? null : quantize,
    threads: threads ?? null,
    device,
  });
  const reading = new addon.NativeReading();
  const loading = abortable(call.signal, (abort) => addon.NativeModel.load(text, reading, abort));
  const resolving = resolveModel(found, call);
  resolving.catch(() => {}); // told once loading is over
  const handle = await tellingOfReading(reading, call, loading);
  try {
    return BayesianModel.of(handle, { quantize, noGpu }, await resolving);
  } catch (error) {
    await handle.dispose();
    throw error;
  }
}

/** What a caller without types may have passed. */
function oneOf(name: string, value: string | undefined, allowed: readonly string[]): void {
  if (value !== undefined && !allowed.includes(value)) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `${name} must be one of ${allowed.join(', ')}, got ${JSON.stringify(value)}`,
    );
  }
}

/** What was decided before the engine loaded a model. */
type Chosen = Pick<ModelInfo, 'quantize' | 'noGpu'>;

/** Made by {@link loadModel}. */
export class BayesianModel implements AsyncDisposable {
  readonly info: ModelInfo;
  /** Which model it is: source, name, hashes of its files. */
  readonly resolved: ResolvedModel;
  readonly #native: NativeModel;

  private constructor(handle: NativeModel, chosen: Chosen, resolved: ResolvedModel) {
    this.#native = handle;
    this.resolved = resolved;
    this.info = { ...(JSON.parse(handle.info()) as Omit<ModelInfo, keyof Chosen>), ...chosen };
  }

  /** @internal */
  static of(handle: NativeModel, chosen: Chosen, resolved: ResolvedModel): BayesianModel {
    return new BayesianModel(handle, chosen, resolved);
  }

  /** Most bytes of the GPU's memory that this process held at once so far; null on the CPU. */
  peakGpuBytes(): number | null {
    return this.#native.peakGpuBytes();
  }

  /** Token ids of each text; `addSpecialTokens` adds what the tokenizer itself would (BOS). */
  async encode(
    texts: string[],
    addSpecialTokens: boolean,
    { signal }: Pick<CallOptions, 'signal'> = {},
  ): Promise<TokenLists> {
    throwIfAborted(signal);
    return unlessAborted(
      signal,
      native(() => this.#native.encode(texts, addSpecialTokens)),
    );
  }

  /**
   * Token ids of texts and pairs for an encoder, at most `maxLength` each with the special ones;
   * what is longer is cut at the end of whichever text is longer.
   */
  encodeTexts(texts: readonly TextPair[], maxLength: number): Promise<PairLists> {
    const firsts = texts.map(({ first }) => first);
    const seconds = texts.map(({ second }) => second);
    return native(() => this.#native.encodeTexts(firsts, seconds, maxLength));
  }

  decode(ids: Uint32Array): Promise<string> {
    return native(() => this.#native.decode(ids));
  }

  async createAdapter(options: AdapterOptions): Promise<Adapter> {
    const text = JSON.stringify(options);
    return Adapter.of(await native(() => this.#native.createAdapter(text)));
  }

  /** Reads a PEFT folder; `sigma` null: σ = ρ², or as what is Gaussian has it. */
  async loadAdapter(
    folder: string,
    options: { sigma?: Sigma | null } = {},
    { signal }: Pick<CallOptions, 'signal'> = {},
  ): Promise<Adapter> {
    throwIfAborted(signal);
    const text = JSON.stringify({ sigma: options.sigma ?? null });
    const loading = native(() => this.#native.loadAdapter(folder, text));
    return Adapter.of(await unlessAborted(signal, loading, (late) => late.dispose()));
  }

  /** @internal The engine's handle, for {@link Trainer}. */
  get handle(): NativeModel {
    return this.#native;
  }

  /**
   * Waits for running work and frees the weights; later calls reject with `BPEFT_WORKER_STOPPED`.
   */
  async dispose(): Promise<void> {
    await native(() => this.#native.dispose());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** Made by {@link BayesianModel.createAdapter} and {@link BayesianModel.loadAdapter}. */
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
