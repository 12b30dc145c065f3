/**
 * Runs as numbers for a report: metrics with intervals, curves, and methods by datasets. What
 * `--format json` writes.
 *
 * Intervals are 95 % percentile bootstrap over rows (`metrics/bootstrap.ts`); over seeds, mean and
 * sample standard deviation.
 */

import { isCorrect } from '../metrics/accuracy.ts';
import { bootstrap, type Interval } from '../metrics/bootstrap.ts';
import { brier } from '../metrics/brier.ts';
import { DEFAULT_BINS, eceOf, type ReliabilityBin, reliability } from '../metrics/ece.ts';
import { FLIP_RATIO_DEFINITION } from '../metrics/flip-ratio.ts';
import { nll } from '../metrics/nll.ts';
import { AURC_DEFINITION, aurc, type RiskPoint, riskCoverage } from '../metrics/risk-coverage.ts';
import { confidence, type LabelledRow } from '../metrics/scored-row.ts';
import { commandLine } from './command-line.ts';
import { type PublishedNumber, publishedNumbers } from './published.ts';
import type { LoggedPosterior, LoggedStep, ReadEvaluation, ReportedRun } from './reported-run.ts';

export const REPORTED_METRICS = ['acc', 'ece', 'nll', 'brier'] as const;
export type ReportedMetric = (typeof REPORTED_METRICS)[number];

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

/** One method on one split, over the seeds that were run. */
export interface ComparedCell {
  readonly method: string;
  readonly model: string;
  readonly samples: number;
  readonly trained_on: string | null;
  /** Mean temperature; null: the probabilities as they came. */
  readonly temperature: number | null;
  readonly dataset: string;
  readonly split: string;
  readonly seeds: number;
  readonly metrics: Readonly<
    Record<ReportedMetric, { readonly mean: number | null; readonly sd: number | null }>
  >;
  readonly published: readonly PublishedNumber[];
}

export interface Report {
  readonly format: 1;
  readonly runs: readonly RunReport[];
  readonly comparison: readonly ComparedCell[];
}

export function reportOf(runs: readonly ReportedRun[]): Report {
  const reports = runs.map(runReport);
  return { format: 1, runs: reports, comparison: comparison(reports) };
}

function runReport(run: ReportedRun): RunReport {
  const { name, notes, method, model, dataset, seed, protocol, config } = run;
  const { versions, hardware, training, steps, posterior } = run;
  return {
    ...{ name, is_finished: run.isFinished, notes, command: commandLine(run), method, model, dataset, seed },
    trained_on: run.trainedOn,
    ...{ protocol, config, versions, hardware, training, steps, posterior },
    evaluations: run.evaluations.map(evaluationReport),
  };
}

function evaluationReport(evaluation: ReadEvaluation): EvaluationReport {
  const { dataset, split, samples, temperature, n, n_truncated, metrics } = evaluation;
  const flips = typeof evaluation.flip_ratio === 'number' ? { flip_ratio: evaluation.flip_ratio } : {};
  const definitions = 'flip_ratio' in flips ? { flip_ratio: FLIP_RATIO_DEFINITION } : {};
  const labelled = (evaluation.rows ?? []).filter(
    (row): row is typeof row & LabelledRow => row.label !== null,
  );
  const intervals = labelled.length === 0 ? null : rowIntervals(labelled);
  const estimate = (metric: ReportedMetric): Estimate => {
    const { lower = null, upper = null } = intervals?.[metric] ?? {};
    return { value: metrics[metric] ?? null, lower, upper };
  };
  const curve = labelled.length === 0 ? null : riskCoverage(labelled);
  return {
    ...{ dataset, split, samples, temperature, n, n_truncated: n_truncated ?? null },
    metrics: { acc: estimate('acc'), ece: estimate('ece'), nll: estimate('nll'), brier: estimate('brier') },
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

/** A row's shares of the means are computed once, not for each resample. */
function rowIntervals(rows: readonly LabelledRow[]): Record<ReportedMetric, Interval> {
  const right = rows.map((row) => (isCorrect(row) ? 1 : 0));
  const losses = rows.map((row) => nll([row]));
  const scores = rows.map((row) => brier([row]));
  const certainties = rows.map((row) => confidence(row.probs));
  const binOf = rows.map((row) => reliability([row], DEFAULT_BINS).findIndex((bin) => bin.n === 1));
  return bootstrap([rows.length], ([draw = new Uint32Array(0)]) => {
    const bins = Array.from({ length: DEFAULT_BINS + 1 }, () => ({ n: 0, accuracy: 0, confidence: 0 }));
    let [accuracy, loss, score] = [0, 0, 0];
    for (const row of draw) {
      const bin = bins[binOf[row] ?? 0];
      accuracy += right[row] ?? 0;
      loss += losses[row] ?? 0;
      score += scores[row] ?? 0;
      if (bin === undefined) continue;
      bin.n += 1;
      bin.accuracy += right[row] ?? 0;
      bin.confidence += certainties[row] ?? 0;
    }
    const table = bins.map(({ n, accuracy: hits, confidence: sum }) => ({
      ...{ lower: 0, upper: 0, n, accuracy: n === 0 ? null : hits / n, confidence: n === 0 ? null : sum / n },
    }));
    const n = draw.length;
    return { acc: accuracy / n, ece: eceOf(table, n), nll: loss / n, brier: score / n };
  });
}

function comparison(runs: readonly RunReport[]): ComparedCell[] {
  const groups = new Map<string, { run: RunReport; evaluations: EvaluationReport[] }>();
  for (const run of runs) {
    for (const evaluation of run.evaluations) {
      const { dataset, split, samples, temperature } = evaluation;
      const isScaled = temperature !== null;
      const key = JSON.stringify([
        ...[run.method, run.model, run.protocol, run.trained_on, samples, isScaled, dataset, split],
      ]);
      const group = groups.get(key) ?? { run, evaluations: [] };
      group.evaluations.push(evaluation);
      groups.set(key, group);
    }
  }
  return [...groups.values()].map(({ run: { method, model, trained_on: trainedOn }, evaluations }) => {
    const [first] = evaluations;
    const { dataset = '', split = '', samples = 0 } = first ?? {};
    const over = (metric: ReportedMetric) => spread(evaluations.map(({ metrics }) => metrics[metric].value));
    const { mean: temperature } = spread(evaluations.map((one) => one.temperature));
    return {
      ...{ method, model, samples, temperature, trained_on: trainedOn, dataset, split },
      seeds: evaluations.length,
      metrics: { acc: over('acc'), ece: over('ece'), nll: over('nll'), brier: over('brier') },
      // Published ones are of answers as they came.
      published: temperature === null ? publishedNumbers({ method, model, samples, dataset, trainedOn }) : [],
    };
  });
}

function spread(values: readonly (number | null)[]): { mean: number | null; sd: number | null } {
  const known = values.filter((value) => value !== null);
  if (known.length === 0 || known.length < values.length) return { mean: null, sd: null };
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  if (known.length === 1) return { mean, sd: null };
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: Math.sqrt(squares / (known.length - 1)) };
}
