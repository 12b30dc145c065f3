/**
 * Bayesian low-rank fine-tuning: what the command line does, as a library.
 * Models, adapters and batches for loops of one's own are in `bpeft/engine`.
 *
 * @module bpeft
 */

export type { RaggedBatch } from './batches/ragged-batch.ts';
export {
  type CompareContext,
  type CompareOptions,
  type CompareStep,
  type Comparison,
  compare,
} from './compare/compare.ts';
export { configJsonSchema } from './config/json-schema.ts';
export type {
  BayesianizeOptions,
  DemoOptions,
  EvaluateOptions,
  PredictOptions,
  TrainOptions,
} from './config/schema.ts';
export type { CommandName } from './config/setting.ts';
export type { TextPair } from './datasets/prompts/text-pair.ts';
export {
  type DatasetSource,
  type LoadOptions,
  listDatasets,
  type ResolveOptions,
  resolveDataset,
} from './datasets/registry.ts';
export type { RowPlace } from './datasets/rows/dataset-error.ts';
export type {
  Dataset,
  DatasetFile,
  HubOrigin,
  Item,
  RowStream,
  SplitHead,
  TaskFamily,
  TaskKind,
} from './datasets/rows/item.ts';
export type { DatasetEntry } from './datasets/tasks/entry.ts';
export type { PairLists, TokenLists } from './datasets/tokens/prompt-encoder.ts';
export { type DemoResult, demo } from './demo/demo.ts';
export type { OtherMethod } from './demo/other-methods.ts';
export type {
  Adapter,
  AdapterInfo,
  AdapterOptions,
  GaussianOver,
  LayerQuantiles,
  PredictiveOptions,
  Sigma,
} from './engine/adapter.ts';
export type { Precision, Quantization } from './engine/arithmetic.ts';
export type { CallOptions, Progress } from './engine/call.ts';
export type { Ranks } from './engine/group.ts';
export {
  type BayesianModel,
  type LoadModelOptions,
  loadModel,
} from './engine/model.ts';
export type { ModelInfo } from './engine/model-info.ts';
export type { FoundModel, ModelSource } from './engine/model-source.ts';
export type { ModelFile, ModelIdentity, ResolvedModel } from './engine/resolved-model.ts';
export {
  BPEFT_ERROR_CODES,
  BpeftError,
  type BpeftErrorCode,
  type BpeftErrorOptions,
} from './errors.ts';
export type * from './events/run-event.ts';
export { broadcast, type Listener, type Outcome, type Sink } from './events/sinks.ts';
export { type ConsoleOptions, consoleSink, type TextStream } from './logging/console.ts';
export { METHODS, type MethodId as Method } from './methods/ids.ts';
export type { KlPlan } from './methods/kl-plan.ts';
export type { Link } from './methods/method.ts';
export type { Look } from './methods/tfb.ts';
export type { Interval } from './metrics/bootstrap.ts';
export type { Detection } from './metrics/detection.ts';
export type { ReliabilityBin } from './metrics/ece.ts';
export {
  type MetricId,
  type Metrics,
  type MetricsReport,
  metricsReport,
  type ReportOptions,
} from './metrics/report.ts';
export type { Measure } from './metrics/row-measures.ts';
export type { ScoredRow } from './metrics/scored-row.ts';
export type { UncertaintyScore } from './metrics/uncertainty-score.ts';
export { DATA_PROTOCOLS, type DataProtocol, type Protocol } from './protocol/data-protocol.ts';
export type { ComparedCell, Spread } from './report/compared-cells.ts';
export type {
  ComparedDetection,
  ComparedMethod,
  ComparedMetric,
  ComparedSplit,
} from './report/comparison.ts';
export type { PublishedNumber } from './report/published.ts';
export { type BayesianizeResult, bayesianize } from './run/bayesianize/bayesianize.ts';
export type { LaplaceResult } from './run/bayesianize/making.ts';
export { evaluate } from './run/evaluation/evaluate.ts';
export type { RunContext } from './run/inputs/context.ts';
export type { Prediction, RefusedRow } from './run/prediction/answer.ts';
export type { PredictInput, PredictRows } from './run/prediction/input.ts';
export { predict, predictStream } from './run/prediction/predict.ts';
export { openPredictor, Predictor } from './run/prediction/predictor.ts';
export type {
  AnyRow,
  ChoiceRow,
  ClassifiedRow,
  PredictRow,
  PublishedRow,
} from './run/prediction/row.ts';
export type { AdapterIdentity, FoundAdapter } from './run/records/adapter-files.ts';
export type { DatasetRecord } from './run/records/dataset-record.ts';
export type {
  EvaluationResult,
  RunResult,
  ScaledResult,
  TrainingResult,
} from './run/records/result.ts';
export type { RanksRecord, RunRecord } from './run/records/run-record.ts';
export type { Hardware, Versions } from './run/records/versions.ts';
export { type DryRun, dryRun } from './run/training/dry-run.ts';
export type { TrainPlan } from './run/training/plan.ts';
export { train } from './run/training/train.ts';
export { tensorboardSink } from './tensorboard/sink.ts';
export { type WandbSinkOptions, wandbSink } from './wandb/sink.ts';
