/** A loaded base model: a thin handle on the engine, whose work runs on the model's own thread. */

import type { TextPair } from '../datasets/prompts/text-pair.ts';
import type { PairLists, TokenLists } from '../datasets/tokens/prompt-encoder.ts';
import { BpeftError, throwIfAborted } from '../errors.ts';
import { abortable, native, unlessAborted } from './abort.ts';
import { Adapter, type AdapterOptions, type Sigma } from './adapter.ts';
import type { NativeModel } from './addon.d.ts';
import { PRECISIONS, type Precision, QUANTIZATIONS, type Quantization } from './arithmetic.ts';
import type { CallOptions } from './call.ts';
import { openDevice } from './device.ts';
import type { ModelInfo } from './model-info.ts';
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
  /**
   * Whether a row's bits depend on that row alone on a GPU, too, by one algorithm for the products
   * of each weight; false unless given. On the CPU they do in any case.
   */
  readonly deterministic?: boolean | undefined;
  /**
   * Whether steps and answers of a shape that was seen twice run as one graph of launches on a GPU;
   * false unless given. It changes no number, and nothing on the CPU.
   */
  readonly cudaGraphs?: boolean | undefined;
  /** Threads of the model's own pool: `BPEFT_NUM_THREADS`, or one per processor, unless given. */
  readonly threads?: number | undefined;
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
  const { deterministic = false, cudaGraphs = false } = options;
  const text = JSON.stringify({
    source,
    precision,
    quantize: quantize === 'none' ? null : quantize,
    threads: threads ?? null,
    device,
    deterministic,
    cudaGraphs,
  });
  const reading = new addon.NativeReading();
  const loading = abortable(call.signal, (abort) => addon.NativeModel.load(text, reading, abort));
  const resolving = resolveModel(found, call);
  resolving.catch(() => {}); // told once loading is over
  const handle = await tellingOfReading(reading, call, loading);
  try {
    return BayesianModel.of(
      handle,
      { quantize, noGpu, deterministic, cudaGraphs },
      await resolving,
    );
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
type Chosen = Pick<ModelInfo, 'quantize' | 'noGpu' | 'deterministic' | 'cudaGraphs'>;

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

  /** Most bytes of the GPU's memory that arrays of this process had at once; null on the CPU. */
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
