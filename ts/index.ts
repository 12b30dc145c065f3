/** Bayesian low-rank fine-tuning: what the command line does, as a library. */

export type { Precision, Quantization } from './config/arithmetic.ts';
export { configJsonSchema } from './config/json-schema.ts';
export {
  type DemoOptions,
  type EvaluateOptions,
  METHODS,
  type Method,
  type PredictOptions,
  type TrainOptions,
} from './config/schema.ts';
export { DataLoader } from './data-loader.ts';
export { encodeDataset } from './datasets/encode.ts';
export type { Dataset, Item } from './datasets/item.ts';
export { type RaggedBatch, raggedBatch } from './datasets/ragged-batch.ts';
export { listDatasets, resolveDataset } from './datasets/registry.ts';
export { type DemoResult, demo } from './demo/demo.ts';
export { BPEFT_ERROR_CODES, BpeftError, type BpeftErrorCode } from './errors.ts';
export type { RunEvent } from './events.ts';
export { consoleSink } from './logging/console.ts';
export { type Metrics, type MetricsReport, metricsReport } from './metrics/report.ts';
export {
  Adapter,
  type AdapterInfo,
  type AdapterOptions,
  BayesianModel,
  type CallOptions,
  type LoadModelOptions,
  loadModel,
  type ModelInfo,
  type PredictiveOptions,
} from './model.ts';
export { DATA_PROTOCOLS, type DataProtocol, type Protocol } from './protocol/data-protocol.ts';
export type { RunContext } from './run/context.ts';
export { type DryRun, dryRun } from './run/dry-run.ts';
export { evaluate } from './run/evaluate.ts';
export { predict } from './run/predict.ts';
export { openPredictor, type PredictInput, type Prediction, Predictor } from './run/predictor.ts';
export type { EvaluationResult, RunResult, TrainingResult } from './run/result.ts';
export { train } from './run/train.ts';
export { broadcast, type Listener, type Outcome, type Sink } from './sinks.ts';
export { type BayesOptions, type StepReport, Trainer, type TrainerOptions } from './trainer.ts';
