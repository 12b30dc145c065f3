/** Bayesian low-rank fine-tuning: what the command line does, as a library. */

export { DataLoader } from './batches/data-loader.ts';
export { type RaggedBatch, raggedBatch } from './batches/ragged-batch.ts';
export { configJsonSchema } from './config/json-schema.ts';
export type {
  DemoOptions,
  EvaluateOptions,
  PredictOptions,
  TrainOptions,
} from './config/schema.ts';
export { listDatasets, resolveDataset } from './datasets/registry.ts';
export type { Dataset, Item } from './datasets/rows/item.ts';
export { encodeDataset } from './datasets/tokens/encode.ts';
export { type DemoResult, demo } from './demo/demo.ts';
export type { Precision, Quantization } from './engine/arithmetic.ts';
export type { CallOptions, Progress } from './engine/call.ts';
export {
  Adapter,
  type AdapterInfo,
  type AdapterOptions,
  BayesianModel,
  type LoadModelOptions,
  loadModel,
  type ModelInfo,
  type PredictiveOptions,
} from './engine/model.ts';
export type { ModelFile, ModelIdentity, ResolvedModel } from './engine/resolved-model.ts';
export { type StepReport, Trainer, type TrainerOptions } from './engine/trainer.ts';
export { BPEFT_ERROR_CODES, BpeftError, type BpeftErrorCode } from './errors.ts';
export type { RunEvent } from './events/run-event.ts';
export { broadcast, type Listener, type Outcome, type Sink } from './events/sinks.ts';
export { consoleSink } from './logging/console.ts';
export type {
  BlobOptions,
  IvonOptions,
  KlCycle,
  MapOptions,
  MethodOptions,
  MleOptions,
  PointOptions,
} from './methods/engine-options.ts';
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
