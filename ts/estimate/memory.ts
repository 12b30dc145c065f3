/**
 * Memory of a training step and of an answer, in bytes.
 *
 *   process + weights + 16·(adapter's values) + rows·L·kept + rows·passing
 *
 * The adapter has its values, gradients and two moments in f32. A block keeps of each row, in f32,
 * x and u (d), q and o (H·c), k and v (G·c), the logarithms of the heads' sums (H), and gate and up
 * (f), in half the bytes unless products are f32. Its backward pass holds at most six times what
 * the MLP and the stream hold together; on a GPU, which needs no copies in other orders, once.
 *
 * On a GPU products in bf16 leave gates, keys and values in bf16 (ADR 0045), and all others leave
 * them in f32; the tables (ADR 0033) lie beside the blocks as they are stored, and the cosines and
 * sines of rotary positions, c floats each, for a power of two of them.
 */

import { blockMatrices, blockWeights, tableWeights } from './shape.ts';
import type { Work } from './work.ts';

/** Low and high bound what was measured (docs/performance.md); expected is the equation. */
export interface Range {
  readonly low: number;
  readonly expected: number;
  readonly high: number;
}

export interface MemoryEstimate {
  readonly total: Range;
  /** The parts of what is expected. */
  readonly parts: {
    readonly weights: number;
    readonly adapter: number;
    readonly activations: number;
    readonly process: number;
  };
}

/** Measured runs on CPUs lie within these multiples of the equation. */
export const MEMORY_BAND = { low: 0.75, high: 1.35 } as const;

/** Node, the engine and a tokenizer. */
const PROCESS = 110e6;
/** The driver's context, cuBLAS and its work space, on a GPU: not measured. */
export const CONTEXT = 600e6;

/** Rotary positions that there are angles for at least. */
const FEWEST_POSITIONS = 512;

/** What decides where weights go. */
export type Weights = Pick<Work, 'shape' | 'precision' | 'quantize' | 'weightBytes'>;

/** Bytes of a weight in memory. */
const BYTES: Readonly<Record<Work['quantize'], number>> = {
  none: 2,
  q8_0: 34 / 32,
  q4_k: 144 / 256,
  int8: 1,
  nf4: 0.5 + 4 / 64,
};

/** On the CPU weights stay as they are stored or quantised; tables are never quantised. */
export function cpuWeightBytes({ shape, quantize, weightBytes }: Work): number {
  if (weightBytes !== null && quantize === 'none') return weightBytes;
  return blockWeights(shape) * BYTES[quantize] + tableWeights(shape) * BYTES.none;
}

/**
 * On a GPU quantised blocks stay as they are, beside one decoded layer; others are in f32 or bf16.
 */
export function gpuBlockBytes(work: Weights): number {
  const { shape, precision, quantize } = work;
  const decoded = precision === 'f32' ? 4 : 2;
  const weights = blockWeights(shape);
  const ofWeight = quantize === 'none' ? storedBytes(work) : BYTES[quantize];
  if (ofWeight >= BYTES.none) return weights * decoded;
  const widest = Math.max(...Object.values(blockMatrices(shape)).map(([m, k]) => m * k));
  return weights * ofWeight + widest * decoded;
}

/** Bytes of a weight in the model's files. */
function storedBytes({ shape, weightBytes }: Weights): number {
  if (weightBytes === null) return BYTES.none;
  return weightBytes / (blockWeights(shape) + tableWeights(shape));
}

/** Of the blocks, and of the tables as they are stored. */
export function gpuWeightBytes(work: Weights): number {
  return gpuBlockBytes(work) + tableWeights(work.shape) * storedBytes(work);
}

export function cpuTraining(work: Work): MemoryEstimate {
  return sum(
    work,
    cpuWeightBytes(work),
    activationBytes(work, { gates: work.precision !== 'f32', keys: false }, 6),
    PROCESS,
  );
}

/** On a GPU products in bf16 leave gates, keys and values in bf16; all others are in f32. */
export function gpuTraining(work: Work): MemoryEstimate {
  const { shape, tokens, precision } = work;
  const positions = 2 ** Math.ceil(Math.log2(Math.max(FEWEST_POSITIONS, tokens)));
  const rotations = 4 * shape.headDim * positions;
  const isRounded = precision === 'bf16';
  const activations = activationBytes(work, { gates: isRounded, keys: isRounded }, 1);
  return sum(work, gpuWeightBytes(work) + rotations, activations, CONTEXT);
}

function sum(
  { adapterValues }: Work,
  weights: number,
  activations: number,
  process: number,
): MemoryEstimate {
  const adapter = 16 * adapterValues;
  const expected = weights + adapter + activations + process;
  return {
    total: banded(expected, MEMORY_BAND),
    parts: { weights, adapter, activations, process },
  };
}

/**
 * @param inBf16 what is kept in half the bytes of f32
 * @param widths of the MLP and the stream that pass through a block
 */
function activationBytes(
  { shape, rows, recomputes }: Work,
  inBf16: { readonly gates: boolean; readonly keys: boolean },
  widths: number,
): number {
  const {
    hiddenSize: d,
    intermediateSize: f,
    numLayers,
    numHeads: h,
    numKvHeads: g,
    headDim: c,
  } = shape;
  const gates = inBf16.gates ? f : 2 * f;
  const keys = inBf16.keys ? g * c : 2 * g * c;
  const kept = 4 * (2 * d + 2 * h * c + keys + h + gates);
  const layers = recomputes ? 4 * d * numLayers + kept : kept * numLayers;
  const passing = 4 * widths * (d + f);
  return rows * (layers + passing);
}

export function banded(expected: number, { low, high }: { low: number; high: number }): Range {
  return { low: expected * low, expected, high: expected * high };
}
