/**
 * The engine by itself, `bpeft/engine`: models, adapters, updates and batches, for loops of one's
 * own. What runs are made of; the main door, `bpeft`, has the runs.
 *
 * @module bpeft/engine
 */

export type { BatchOrderOptions, Cursor } from '../batches/batch-order.ts';
export {
  DataLoader,
  type EvaluationBatch,
  type EvaluationOptions,
  evaluationBatches,
} from '../batches/data-loader.ts';
export { type RaggedBatch, raggedBatch } from '../batches/ragged-batch.ts';
export type { TextPair } from '../datasets/prompts/text-pair.ts';
export {
  type DatasetSource,
  type LoadOptions,
  type ResolveOptions,
  resolveDataset,
} from '../datasets/registry.ts';
export type { RowPlace } from '../datasets/rows/dataset-error.ts';
export type {
  Dataset,
  DatasetFile,
  HubOrigin,
  Item,
  RowStream,
  SplitHead,
  TaskFamily,
  TaskKind,
} from '../datasets/rows/item.ts';
export type { DatasetEntry } from '../datasets/tasks/entry.ts';
export {
  type EncodedDataset,
  type EncodedExample,
  type EncodedHead,
  type EncodeOptions,
  encodeDataset,
} from '../datasets/tokens/encode.ts';
export type { Examples } from '../datasets/tokens/packed-examples.ts';
export type {
  PairEncoder,
  PairLists,
  PromptEncoder,
  RowEncoder,
  TokenizerInfo,
  TokenLists,
} from '../datasets/tokens/prompt-encoder.ts';
export {
  BPEFT_ERROR_CODES,
  BpeftError,
  type BpeftErrorCode,
  type BpeftErrorOptions,
} from '../errors.ts';
export type * from '../methods/engine-options.ts';
export { DATA_PROTOCOLS, type DataProtocol, type Protocol } from '../protocol/data-protocol.ts';
export {
  Adapter,
  type AdapterInfo,
  type AdapterOptions,
  type GaussianOver,
  type LayerQuantiles,
  type PredictiveOptions,
  type Sigma,
} from './adapter.ts';
export type { Precision, Quantization } from './arithmetic.ts';
export type { CallOptions, Progress } from './call.ts';
export {
  Curvature,
  type CurvatureOptions,
  type Evidence,
  type LogitGaussian,
} from './curvature.ts';
export { Group, type Ranks } from './group.ts';
export { BayesianModel, type LoadModelOptions, loadModel } from './model.ts';
export type { ModelInfo } from './model-info.ts';
export type { FoundModel, ModelSource } from './model-source.ts';
export type { ModelFile, ModelIdentity, ResolvedModel } from './resolved-model.ts';
export { type StepReport, Trainer, type TrainerOptions } from './trainer.ts';
