/**
 * Time of a training step and of an answer, in seconds, of the arithmetic and a rate.
 *
 *   forward    2·P + 2·H·c·T·L + 8·r·Σ(k + m)   FLOP a row
 *   backward   2·P + 5·H·c·T·L + 16·r·Σ(k + m)  (+ forward again where blocks are recomputed)
 *
 * P: weights of the blocks; T: tokens of a prompt, of which a position sees half; the sum runs over
 * the adapted layers. The base has no weight gradients.
 */

import type { KnownGpu } from './known-gpus.ts';
import { banded, gpuBlockBytes, type Range } from './memory.ts';
import { blockMatrices, blockWeights } from './shape.ts';
import type { Work } from './work.ts';

interface Arithmetic {
  /** FLOP of products with frozen weights. */
  readonly products: number;
  /** FLOP of everything else. */
  readonly rest: number;
}

/**
 * Shares of the rate of large products that a step reaches; expected is the middle of what was
 * measured.
 */
const CPU_SHARE = { low: 0.3, expected: 0.55, high: 0.85 } as const;
/**
 * On a GPU nothing has been measured: shares of the data sheet's rate that such steps usually
 * reach.
 */
const GPU_SHARE = { low: 0.15, expected: 0.4, high: 0.65 } as const;
/** Of what is no product: kernels that read their operands from caches, without tensor cores. */
const GPU_REST = { low: 0.03, expected: 0.1, high: 0.3 } as const;
/**
 * Kernels and products of a block that adapts queries and values, forward and back, and the time of
 * a launch.
 */
const LAUNCHES = { forward: 20, backward: 28, seconds: 5e-6 } as const;

/** @param rate FLOP/s of large products in the run's precision */
export function cpuStep(work: Work, rate: number): Range {
  const { products, rest } = training(work);
  return byShare((products + rest) / rate, CPU_SHARE);
}

/** Answers of a batch of evaluation. */
export function cpuAnswers(work: Work, rate: number): Range {
  const { products, rest } = answering(work);
  return byShare((products + rest) / rate, CPU_SHARE);
}

export function gpuStep(work: Work, gpu: KnownGpu): Range {
  const passes = LAUNCHES.forward + LAUNCHES.backward;
  return onGpu(training(work), work, gpu, passes);
}

export function gpuAnswers(work: Work, gpu: KnownGpu): Range {
  return onGpu(answering(work), work, gpu, LAUNCHES.forward);
}

function training(work: Work): Arithmetic {
  const forward = perRow(work, 1);
  const backward = perRow(work, 2.5);
  const again = work.recomputes ? 2 : 1;
  return {
    products: work.rows * forward.products * (again + 1),
    rest: work.rows * (forward.rest * again + backward.rest),
  };
}

function answering(work: Work): Arithmetic {
  const { products, rest } = perRow(work, 1);
  const rows = work.evaluationPrompts * work.tokens * work.samples;
  return { products: rows * products, rest: rows * rest };
}

/** FLOP of one row on the way forward; what is no product, times `factor`. */
function perRow({ shape, tokens, targetModules, rank }: Work, factor: number): Arithmetic {
  const attention = 2 * shape.numHeads * shape.headDim * tokens * shape.numLayers;
  const adapted = Object.entries(blockMatrices(shape)).filter(([module]) =>
    targetModules.includes(module),
  );
  const widths = adapted.reduce((sum, [, [m, k]]) => sum + m + k, 0);
  return {
    products: 2 * blockWeights(shape),
    rest: factor * (attention + 8 * rank * widths * shape.numLayers),
  };
}

function onGpu(flop: Arithmetic, work: Work, gpu: KnownGpu, launches: number): Range {
  const rate = work.precision === 'f32' ? gpu.f32 : gpu.bf16;
  // Weights are read at least once, whatever the arithmetic.
  const reading = gpuBlockBytes(work) / gpu.bytesPerSecond;
  const waiting = launches * work.shape.numLayers * LAUNCHES.seconds;
  const at = (share: keyof typeof GPU_SHARE) =>
    waiting +
    Math.max(flop.products / (rate * GPU_SHARE[share]), reading) +
    flop.rest / (gpu.f32 * GPU_REST[share]);
  return { low: at('high'), expected: at('expected'), high: at('low') };
}

function byShare(seconds: number, share: Range): Range {
  const { low, high } = banded(seconds / share.expected, {
    low: share.expected / share.high,
    high: share.expected / share.low,
  });
  return { low, expected: seconds / share.expected, high };
}
