/**
 * Bayesian low-rank fine-tuning: what the command line does, as a library.
 * Models, adapters and batches for loops of one's own are in `bpeft/engine`.
 */

export { configJsonSchema } from './config/json-schema.ts';
export type {
  DemoOptions,
  EvaluateOptions,
  PredictOptions,
  TrainOptions,
} from './config/schema.ts';
export {
  type DatasetSource,
  listDatasets,
  type ResolveOptions,
  resolveDataset,
} from './datasets/registry.ts';
export type { Dataset, Item } from './datasets/rows/item.ts';
export type { DatasetEntry } from './datasets/tasks/entry.ts';
export { type DemoResult, demo } from './demo/demo.ts';
export type { Precision, Quantization } from './engine/arithmetic.ts';
export type { CallOptions, Progress } from './engine/call.ts';
export {
  type BayesianModel,
  type LoadModelOptions,
  loadModel,
  type ModelInfo,
} from './engine/model.ts';
export type { ModelFile, ModelIdentity, ResolvedModel } from './engine/resolved-model.ts';
export { BPEFT_ERROR_CODES, BpeftError, type BpeftErrorCode, type BpeftErrorOptions } from './errors.ts';
export type * from './events/run-event.ts';
export { broadcast, type Listener, type Outcome, type Sink } from './events/sinks.ts';
export { consoleSink } from './logging/console.ts';
export { METHODS, type MethodId as Method } from './methods/ids.ts';
export { type Metrics, type MetricsReport, metricsReport } from './metrics/report.ts';
export { DATA_PROTOCOLS, type DataProtocol, type Protocol } from './protocol/data-protocol.ts';
export { evaluate } from './run/evaluation/evaluate.ts';
export type { RunContext } from './run/inputs/context.ts';
export type { Prediction, RefusedRow } from './run/prediction/answer.ts';
export { predict, predictStream } from './run/prediction/predict.ts';
export { openPredictor, type PredictInput, Predictor } from './run/prediction/predictor.ts';
export type { EvaluationResult, RunResult, TrainingResult } from './run/records/result.ts';
export { type DryRun, dryRun } from './run/training/dry-run.ts';
export { train } from './run/training/train.ts';
export { tensorboardSink } from './tensorboard/sink.ts';
export { type WandbSinkOptions, wandbSink } from './wandb/sink.ts';
