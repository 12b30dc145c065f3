/** What is known of a loaded model. */

import type { Precision, Quantization } from './arithmetic.ts';

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
  /** Whether it was loaded with `deterministic`. */
  readonly deterministic: boolean;
  /** Whether it was loaded with `cudaGraphs`. */
  readonly cudaGraphs: boolean;
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
