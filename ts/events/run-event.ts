/** What a run tells while it works; who hears it is `sinks.ts`. */

import type { LayerQuantiles } from '../engine/adapter.ts';
import type { BpeftErrorCode } from '../errors.ts';
import type { EvaluationResult } from '../run/records/result.ts';
import type { RunRecord } from '../run/records/run-record.ts';
import type { TrainPlan } from '../run/training/plan.ts';

export interface RunStarted {
  readonly type: 'run-started';
  readonly command: 'train' | 'eval';
  readonly method: string;
  readonly model: string;
  readonly dataset: string;
  /** Run folder; null: nothing is written. */
  readonly out: string | null;
  /** Updates of the whole run; 0 for an evaluation. */
  readonly steps: number;
  /** The last finished update of the run that is resumed; null: a fresh one. */
  readonly resumedAt: number | null;
  /** Null for an evaluation. */
  readonly plan: TrainPlan | null;
  /**
   * Steps, evaluations and looks at the posterior that were told before the run was resumed; 0 for
   * a fresh one.
   */
  readonly logged: number;
  /** What a run folder's `config.json` holds. */
  readonly record: RunRecord;
}

export interface StepDone {
  readonly type: 'step';
  /** Updates done, from 1. */
  readonly step: number;
  readonly steps: number;
  /** Mean over the update's rows, nats. */
  readonly nll: number;
  /** KL(q‖p) before its weight, nats; null without a posterior. */
  readonly kl: number | null;
  readonly klWeight: number | null;
  /** Fraction. */
  readonly accuracy: number;
  readonly lr: number;
  readonly klLr: number | null;
  readonly sigmaMean: number | null;
  readonly gradNorm: number;
  readonly tokens: number;
  readonly ms: number;
}

/** One look of a search for sigma at its anchor rows. */
export interface SearchLook {
  readonly type: 'look';
  readonly sigma: number;
  readonly criterion: 'nll' | 'accuracy';
  /** Fraction by which the anchors change. */
  readonly change: number;
  readonly tolerance: number;
  readonly isWithin: boolean;
}

/** Rows whose curvature is gathered, or that choose the precision of its prior. */
export interface CurvatureProgress {
  readonly type: 'curvature-progress';
  readonly dataset: string;
  readonly split: string;
  readonly done: number;
  readonly rows: number;
}

/** What the rows of a curvature say of its prior. */
export interface CurvatureDone {
  readonly type: 'curvature';
  readonly rows: number;
  /** λ. */
  readonly precision: number;
  readonly chosenBy: 'evidence' | 'validation' | 'setting';
  /** ln Z, nats. */
  readonly logEvidence: number;
  /** Parameters that the rows determine. */
  readonly determined: number;
}

export interface EvaluationProgress {
  readonly type: 'evaluation-progress';
  readonly dataset: string;
  readonly split: string;
  readonly samples: number;
  readonly done: number;
  readonly rows: number;
}

export interface EvaluationDone {
  readonly type: 'evaluation';
  /** Updates done when it ran; null outside training. */
  readonly step: number | null;
  /** Whether it is of the run's end. */
  readonly isFinal: boolean;
  readonly result: EvaluationResult;
}

/** How wide the posterior is, layer by layer; told with each round of evaluations. */
export interface PosteriorSpread {
  readonly type: 'posterior';
  readonly step: number;
  /** Of the quantiles of σ. */
  readonly fractions: readonly number[];
  readonly layers: readonly LayerQuantiles[];
}

export interface CheckpointWritten {
  readonly type: 'checkpoint';
  readonly step: number;
  readonly folder: string;
}

export type WarningCode =
  | 'BPEFT_KL_NEVER_ACTS'
  | 'BPEFT_BASE_MODEL_DIFFERS'
  | 'BPEFT_PROMPTS_TRUNCATED'
  | 'BPEFT_BAD_ROWS'
  | 'BPEFT_SINK_FAILED'
  | 'BPEFT_NOTICE';

export interface Warning {
  readonly type: 'warning';
  readonly code: WarningCode;
  readonly message: string;
}

export interface RunInterrupted {
  readonly type: 'interrupted';
  readonly message: string;
}

export interface RunFailed {
  readonly type: 'failed';
  readonly code: BpeftErrorCode;
  readonly message: string;
}

export interface RunFinished {
  readonly type: 'finished';
  readonly command: 'train' | 'bayesianize' | 'eval';
  readonly out: string | null;
  /** Of this call, evaluations included. */
  readonly seconds: number;
}

export type RunEvent =
  | RunStarted
  | StepDone
  | SearchLook
  | CurvatureProgress
  | CurvatureDone
  | EvaluationProgress
  | EvaluationDone
  | PosteriorSpread
  | CheckpointWritten
  | Warning
  | RunInterrupted
  | RunFailed
  | RunFinished;
