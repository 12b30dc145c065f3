/** What the caller of a run brings along. */

import {
  PRECISIONS,
  type Precision,
  QUANTIZATIONS,
  type Quantization,
} from '../../engine/arithmetic.ts';
import type { CallOptions } from '../../engine/call.ts';
import type { Group, Ranks } from '../../engine/group.ts';
import { type BayesianModel, loadModel } from '../../engine/model.ts';
import { BpeftError, throwIfAborted } from '../../errors.ts';
import type { Listener, Sink } from '../../events/sinks.ts';
import { tellingWhichWeightsFit } from './full-memory.ts';

export interface RunContext {
  /**
   * Stops the run; training then writes a checkpoint first. The run rejects with `BPEFT_ABORTED`.
   */
  readonly signal?: AbortSignal | undefined;
  /** Hears how far downloading, hashing and reading the model are, before the run's first event. */
  readonly onProgress?: CallOptions['onProgress'];
  /** A function, or a sink that also hears of the end. It cannot change or end the run. */
  readonly onEvent?: Sink | Listener | undefined;
  /** @internal Options that a config file has set, which may serve adapters of several methods. */
  readonly fromFile?: ReadonlySet<string> | undefined;
  /** A loaded model to use instead of the one that `model` names; it stays the caller's. */
  readonly model?: BayesianModel | undefined;
  /**
   * The place of this process among those that train together. All call `train` with the same
   * options, and with the same result; rank 0 alone tells events and writes. Training alone takes
   * it.
   */
  readonly ranks?: Ranks | undefined;
  /** @internal Those processes, once they have met. */
  readonly group?: Group | undefined;
}

/** The part that long pieces of work take. */
export function callOf({ signal, onProgress }: RunContext): CallOptions {
  return { signal, onProgress };
}

/** What a model's own settings are called in every configuration. */
interface ModelSettings {
  readonly model: string;
  readonly precision: Precision;
  readonly quantize: Quantization;
  readonly device?: string | undefined;
  readonly deterministic?: boolean | undefined;
  readonly cudaGraphs?: boolean | undefined;
  readonly threads?: number | undefined;
}

/**
 * Options with the name and the arithmetic of the context's model, so that what a run records is
 * what it did.
 * @throws {BpeftError} `BPEFT_USAGE`: they ask for another arithmetic.
 */
export function withModelOf<
  T extends {
    model?: string | undefined;
    precision?: Precision | undefined;
    quantize?: Quantization | undefined;
    device?: string | undefined;
    deterministic?: boolean | undefined;
    cudaGraphs?: boolean | undefined;
  },
>(options: T, { model }: RunContext, emit: Listener): T {
  if (model === undefined) return options;
  const { name, requested } = model.resolved;
  const isOther = typeof options.model === 'string' && ![name, requested].includes(options.model);
  if (isOther) {
    const message = `the given model, ${name}, is used in place of ${options.model}`;
    emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  }
  const { precision, quantize, device, deterministic, cudaGraphs } = model.info;
  for (const [name, asked, own, known] of [
    ['precision', options.precision, precision, PRECISIONS],
    ['quantize', options.quantize, quantize, QUANTIZATIONS],
  ] as const) {
    // What is not set, and what the schema will refuse.
    const isAsked = asked !== undefined && asked !== null;
    if (!isAsked || asked === own) continue;
    if (!known.some((value) => value === asked)) return options;
    throw new BpeftError(
      'BPEFT_USAGE',
      `${name} must be ${own}, as the given model was loaded, got ${asked}`,
      {
        hint: `leave it out, or load the model with { ${name}: '${asked}' }`,
      },
    );
  }
  requireDevice(options.device, device);
  for (const [name, asked, own] of [
    ['deterministic', options.deterministic, deterministic],
    ['cudaGraphs', options.cudaGraphs, cudaGraphs],
  ] as const) {
    if (asked !== true || own) continue;
    const message = `${name} must be false, as the given model was loaded, got true`;
    const hint = `leave it out, or load the model with { ${name}: true }`;
    throw new BpeftError('BPEFT_USAGE', message, { hint });
  }
  return { ...options, model: requested, precision, quantize, deterministic, cudaGraphs };
}

/** @throws {BpeftError} `BPEFT_USAGE`: another device is asked for than the model lies on. */
function requireDevice(asked: string | undefined, own: string): void {
  if (asked === undefined || ['auto', own].includes(asked) || `${asked}:0` === own) return;
  throw new BpeftError(
    'BPEFT_USAGE',
    `device must be ${own}, where the given model lies, got ${asked}`,
    {
      hint: `leave it out, or load the model with { device: '${asked}' }`,
    },
  );
}

/** The context's model, or a loaded one, which is then the caller's to dispose of. */
export async function openModel(
  settings: ModelSettings,
  context: RunContext,
  emit: Listener,
): Promise<BayesianModel> {
  if (context.model !== undefined) return context.model;
  const { model, precision, quantize, device, deterministic, cudaGraphs, threads } = settings;
  const ordinal = context.ranks?.localRank;
  const machine = { device, ordinal, deterministic, cudaGraphs, threads };
  const options = { model, precision, quantize, ...machine };
  const loaded = await loadModel(options, context).catch(async (error: unknown) => {
    throw await tellingWhichWeightsFit(error, settings);
  });
  const { noGpu } = loaded.info;
  if (noGpu !== null) {
    const message = `no GPU can be used, and the CPU computes: ${noGpu}`;
    emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  }
  return loaded;
}

/** The context's model, or one that lives as long as `work`. */
export async function withModel<T>(
  settings: ModelSettings,
  { emit, ...context }: RunContext & { emit: Listener },
  work: (model: BayesianModel) => Promise<T>,
): Promise<T> {
  throwIfAborted(context.signal);
  const model = await openModel(settings, context, emit);
  try {
    return await work(model);
  } finally {
    if (context.model === undefined) await model.dispose();
  }
}
