/** What a run would need, before any of it is there: memory and time on this CPU and on a GPU. */

import type { TrainConfig } from '../config/resolve.ts';
import { native } from '../engine/abort.ts';
import { engineInfo } from '../engine/engine-info.ts';
import { type BayesianModel, loadModel } from '../engine/model.ts';
import { loadNative } from '../engine/native.ts';
import { threadCount } from '../engine/threads.ts';
import { BpeftError } from '../errors.ts';
import { forModel } from '../run/training/adapted-layers.ts';
import { gpuNamed } from './known-gpus.ts';
import { cpuTraining, gpuTraining, type MemoryEstimate, type Range } from './memory.ts';
import { blockWeights, type ModelShape, shapeNamed, tableWeights } from './shape.ts';
import { cpuAnswers, cpuStep, gpuAnswers, gpuStep } from './time.ts';
import { type Work, workOf } from './work.ts';

export interface EstimateOptions {
  /** A published shape, in place of a model's files. */
  readonly shape?: string | undefined;
  /** Tokens of a prompt; `maxSeqLen` unless given. */
  readonly tokens?: number | undefined;
  /** A GPU by its data sheet; none unless given. */
  readonly gpu?: string | undefined;
}

export interface Estimate {
  readonly format: 1;
  readonly model: {
    readonly name: string;
    readonly parameters: number;
    /** Trained values. */
    readonly adapter: number;
  };
  readonly work: Pick<
    Work,
    'rows' | 'prompts' | 'tokens' | 'samples' | 'evaluationPrompts' | 'precision'
  >;
  readonly cpu: OnDevice & {
    readonly threads: number;
    /** FLOP/s of large products, measured now. */
    readonly rate: number;
  };
  readonly gpu:
    | (OnDevice & { readonly name: string; readonly fits: 'yes' | 'perhaps' | 'no' })
    | null;
}

interface OnDevice {
  /** Bytes. */
  readonly memory: MemoryEstimate;
  /** Seconds of an update. */
  readonly step: Range;
  /** Seconds of a batch of answers. */
  readonly answers: Range;
}

/**
 * Measures for half a second how fast this CPU multiplies; reads a model's head, and no weights.
 */
export async function estimate(config: TrainConfig, options: EstimateOptions): Promise<Estimate> {
  const gpu = options.gpu === undefined ? null : gpuNamed(options.gpu);
  const threads = threadCount(config.threads) ?? engineInfo().processors;
  const { name, shape, weightBytes } = await modelOf(config, options);
  const tokens = options.tokens ?? config.maxSeqLen;
  const layers = { kind: 'decoder', architecture: name, layerNames: {} } as const;
  const work = workOf(forModel(config, layers), shape, { tokens, weightBytes, threads });
  const asked = JSON.stringify({ precision: config.precision, threads });
  const rate = await native(() => loadNative().productRate(asked));
  const { rows, prompts, samples, evaluationPrompts, precision, adapterValues } = work;
  const onGpu = gpu === null ? null : gpuTraining(work);
  return {
    format: 1,
    model: { name, parameters: blockWeights(shape) + tableWeights(shape), adapter: adapterValues },
    work: { rows, prompts, tokens, samples, evaluationPrompts, precision },
    cpu: {
      ...{ threads, rate, memory: cpuTraining(work) },
      ...{ step: cpuStep(work, rate), answers: cpuAnswers(work, rate) },
    },
    gpu:
      gpu === null || onGpu === null
        ? null
        : {
            ...{ name: gpu.name, fits: fits(onGpu.total, gpu.memoryBytes), memory: onGpu },
            ...{ step: gpuStep(work, gpu), answers: gpuAnswers(work, gpu) },
          },
  };
}

function fits({ low, high }: Range, bytes: number): 'yes' | 'perhaps' | 'no' {
  if (high <= bytes) return 'yes';
  return low <= bytes ? 'perhaps' : 'no';
}

interface Found {
  readonly name: string;
  readonly shape: ModelShape;
  /** Null: of the shape alone. */
  readonly weightBytes: number | null;
}

async function modelOf(config: TrainConfig, { shape }: EstimateOptions): Promise<Found> {
  if (shape !== undefined) return { name: shape, shape: shapeNamed(shape), weightBytes: null };
  // As it is stored: quantising would read every weight.
  const model: BayesianModel = await loadModel({ model: config.model, device: 'cpu', threads: 1 });
  try {
    if (model.info.kind === 'encoder') {
      throw new BpeftError(
        'BPEFT_UNSUPPORTED',
        'estimates are of decoders, and this model is an encoder',
        {
          hint: 'bpeft train --dry-run measures a step of it',
        },
      );
    }
    return { name: model.resolved.name, shape: model.info, weightBytes: model.info.memoryBytes };
  } finally {
    await model.dispose();
  }
}
