/**
 * Runs as numbers for a report: metrics with intervals, curves, and methods by datasets. What
 * `--format json` writes.
 *
 * Intervals are 95 % percentile bootstrap over rows (`metrics/bootstrap.ts`); over seeds, mean and
 * sample standard deviation.
 */

import { bootstrap } from '../metrics/bootstrap.ts';
import { DEFAULT_BINS, type ReliabilityBin, reliability } from '../metrics/ece.ts';
import { FLIP_RATIO_DEFINITION } from '../metrics/flip-ratio.ts';
import { AURC_DEFINITION, aurc, type RiskPoint, riskCoverage } from '../metrics/risk-coverage.ts';
import { MEASURES, type Measure, rowMeasures } from '../metrics/row-measures.ts';
import type { LabelledRow } from '../metrics/scored-row.ts';
import { commandLine } from './command-line.ts';
import { type ComparedCell, comparedCells } from './compared-cells.ts';
import type { LoggedPosterior, LoggedStep, ReadEvaluation, ReportedRun } from './reported-run.ts';

export const REPORTED_METRICS = MEASURES;
export type ReportedMetric = Measure;

/** What every table shows; the rest is `further`. */
const SHOWN: readonly string[] = [...REPORTED_METRICS, 'entropy', 'mutual_information', 'aurc'];

/**
 * A value, and where it would lie on other rows of the same kind; no bounds without predictions.
 */
export interface Estimate {
  readonly value: number | null;
  readonly lower: number | null;
  readonly upper: number | null;
}

export interface EvaluationReport {
  readonly dataset: string;
  readonly split: string;
  readonly samples: number;
  /** How the answers of a curvature were made; null where there is none. */
  readonly link: string | null;
  /** Of temperature scaling; null: the probabilities as they came. */
  readonly temperature: number | null;
  readonly n: number;
  readonly n_truncated: number | null;
  readonly metrics: Readonly<Record<ReportedMetric, Estimate>>;
  readonly entropy: number | null;
  readonly mutual_information: number | null;
  readonly aurc: number | null;
  /** Every other measure that was recorded, by its id; `definitions` say what each is. */
  readonly further: Readonly<Record<string, number | null>>;
  readonly detection: NonNullable<ReadEvaluation['detection']> | null;
  readonly reliability: readonly ReliabilityBin[] | null;
  readonly risk_coverage: readonly RiskPoint[] | null;
  readonly definitions: Readonly<Record<string, string>>;
}

export interface RunReport {
  readonly name: string;
  readonly is_finished: boolean;
  readonly notes: readonly string[];
  readonly command: string;
  readonly method: string;
  readonly model: string;
  readonly dataset: string;
  /** Dataset of the adapter; null: unknown. */
  readonly trained_on: string | null;
  readonly seed: number | null;
  readonly protocol: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly versions: Readonly<Record<string, string>>;
  readonly hardware: Readonly<Record<string, unknown>>;
  readonly training: ReportedRun['training'];
  readonly steps: readonly LoggedStep[];
  readonly posterior: LoggedPosterior | null;
  readonly evaluations: readonly EvaluationReport[];
}

export interface Report {
  readonly format: 1;
  readonly runs: readonly RunReport[];
  readonly comparison: readonly ComparedCell[];
}

export function reportOf(runs: readonly ReportedRun[]): Report {
  const reports = runs.map(runReport);
  return { format: 1, runs: reports, comparison: comparedCells(runs) };
}

function runReport(run: ReportedRun): RunReport {
  const { name, notes, method, model, dataset, seed, protocol, config } = run;
  const { versions, hardware, training, steps, posterior } = run;
  return {
    ...{
      name,
      is_finished: run.isFinished,
      notes,
      command: commandLine(run),
      method,
      model,
      dataset,
      seed,
    },
    trained_on: run.trainedOn,
    ...{ protocol, config, versions, hardware, training, steps, posterior },
    evaluations: run.evaluations.map(evaluationReport),
  };
}

function evaluationReport(evaluation: ReadEvaluation): EvaluationReport {
  const { dataset, split, samples, temperature, n, n_truncated, metrics } = evaluation;
  const flips =
    typeof evaluation.flip_ratio === 'number' ? { flip_ratio: evaluation.flip_ratio } : {};
  const definitions = 'flip_ratio' in flips ? { flip_ratio: FLIP_RATIO_DEFINITION } : {};
  const labelled = (evaluation.rows ?? []).filter(
    (row): row is typeof row & LabelledRow => row.label !== null,
  );
  const measures = rowMeasures(labelled);
  const intervals =
    labelled.length === 0
      ? null
      : bootstrap([labelled.length], ([draw = new Uint32Array(0)]) => measures(draw));
  const estimate = (metric: ReportedMetric): Estimate => {
    const { lower = null, upper = null } = intervals?.[metric] ?? {};
    return { value: metrics[metric] ?? null, lower, upper };
  };
  const curve = labelled.length === 0 ? null : riskCoverage(labelled);
  return {
    ...{ dataset, split, samples, link: evaluation.link ?? null, temperature, n },
    n_truncated: n_truncated ?? null,
    metrics: {
      acc: estimate('acc'),
      ece: estimate('ece'),
      nll: estimate('nll'),
      brier: estimate('brier'),
    },
    entropy: metrics.entropy ?? null,
    mutual_information: metrics.mutual_information ?? null,
    aurc: curve === null ? null : aurc(curve),
    further: {
      ...Object.fromEntries(Object.entries(metrics).filter(([id]) => !SHOWN.includes(id))),
      ...flips,
    },
    detection: evaluation.detection ?? null,
    reliability: labelled.length === 0 ? null : reliability(labelled, DEFAULT_BINS),
    risk_coverage: curve,
    definitions: { ...evaluation.definitions, ...definitions, aurc: AURC_DEFINITION },
  };
}
