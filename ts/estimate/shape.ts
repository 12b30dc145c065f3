/** The sizes of a model that memory and time follow from. */

import { BpeftError } from '../errors.ts';
import { nearestName } from '../nearest.ts';

export interface ModelShape {
  /** d, the residual stream. */
  readonly hiddenSize: number;
  /** f, the MLP. */
  readonly intermediateSize: number;
  /** L */
  readonly numLayers: number;
  /** H query heads, G key and value heads, of width c. */
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** V */
  readonly vocabSize: number;
  readonly tieWordEmbeddings: boolean;
}

const of = (
  [hiddenSize, intermediateSize, numLayers]: readonly [number, number, number],
  [numHeads, numKvHeads, headDim]: readonly [number, number, number],
  vocabSize: number,
  tieWordEmbeddings: boolean,
): ModelShape => ({
  ...{ hiddenSize, intermediateSize, numLayers, numHeads, numKvHeads, headDim },
  ...{ vocabSize, tieWordEmbeddings },
});

/** Published shapes, by the models' names. */
export const SHAPES: Readonly<Record<string, ModelShape>> = {
  'smollm2-135m': of([576, 1536, 30], [9, 3, 64], 49_152, true),
  'llama-3.2-1b': of([2048, 8192, 16], [32, 8, 64], 128_256, true),
  'llama-3.2-3b': of([3072, 8192, 28], [24, 8, 128], 128_256, true),
  'llama-2-7b': of([4096, 11_008, 32], [32, 32, 128], 32_000, false),
  'mistral-7b': of([4096, 14_336, 32], [32, 8, 128], 32_000, false),
  'llama-3.1-8b': of([4096, 14_336, 32], [32, 8, 128], 128_256, false),
  'qwen3-8b': of([4096, 12_288, 36], [32, 8, 128], 151_936, false),
  'llama-2-13b': of([5120, 13_824, 40], [40, 40, 128], 32_000, false),
};

/** @throws {BpeftError} `BPEFT_USAGE`: no shape has that name. */
export function shapeNamed(name: string): ModelShape {
  const shape = SHAPES[name];
  if (shape !== undefined) return shape;
  const known = Object.keys(SHAPES);
  const nearest = nearestName(name, known);
  throw new BpeftError('BPEFT_USAGE', `unknown shape ${JSON.stringify(name)}`, {
    hint: `${nearest === null ? '' : `did you mean ${nearest}? `}known: ${known.join(', ')}`,
  });
}

/** Outputs and inputs of each frozen matrix of a block. */
export function blockMatrices(
  shape: ModelShape,
): Readonly<Record<string, readonly [number, number]>> {
  const { hiddenSize: d, intermediateSize: f, numHeads, numKvHeads, headDim } = shape;
  const [queries, keys] = [numHeads * headDim, numKvHeads * headDim];
  return {
    q_proj: [queries, d],
    k_proj: [keys, d],
    v_proj: [keys, d],
    o_proj: [d, queries],
    gate_proj: [f, d],
    up_proj: [f, d],
    down_proj: [d, f],
  };
}

/** Weights of all blocks' matrices. */
export function blockWeights(shape: ModelShape): number {
  const matrices = Object.values(blockMatrices(shape));
  return shape.numLayers * matrices.reduce((sum, [m, k]) => sum + m * k, 0);
}

/** Weights of embedding and head. */
export function tableWeights({ vocabSize, hiddenSize, tieWordEmbeddings }: ModelShape): number {
  return vocabSize * hiddenSize * (tieWordEmbeddings ? 1 : 2);
}
