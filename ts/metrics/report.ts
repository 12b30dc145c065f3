/** All metrics of an evaluation, with the definition of each. Fractions and nats, never percent. */

import { ACCURACY } from './accuracy.ts';
import { ADAPTIVE_ECE } from './adaptive-ece.ts';
import { BRIER } from './brier.ts';
import { CLASSWISE_ECE } from './classwise-ece.ts';
import { CONFORMAL } from './conformal.ts';
import { DEBIASED_ECE } from './debiased-ece.ts';
import { ERROR_DETECTION } from './detection.ts';
import { DEFAULT_BINS, ECE, type ReliabilityBin, reliability } from './ece.ts';
import { ENTROPY } from './entropy.ts';
import { F1, MACRO_F1 } from './f1.ts';
import { MATTHEWS } from './matthews.ts';
import { labelledRows, type MetricRule } from './metric.ts';
import { NLL } from './nll.ts';
import { ECE_NOISE_FLOOR } from './noise-floor.ts';
import { OVERCONFIDENCE } from './overconfidence.ts';
import { MUTUAL_INFORMATION } from './predictive.ts';
import { AURC, E_AURC, SELECTIVE_ACCURACY } from './risk-coverage.ts';
import type { ScoredRow } from './scored-row.ts';

/** In the order of `result.json`. */
const METRICS = [
  ...[ACCURACY, ECE, NLL, BRIER, MATTHEWS, F1, MACRO_F1, ENTROPY, MUTUAL_INFORMATION],
  ...[ECE_NOISE_FLOOR, ADAPTIVE_ECE, CLASSWISE_ECE, DEBIASED_ECE, OVERCONFIDENCE],
  ...[AURC, E_AURC, ...SELECTIVE_ACCURACY, ...ERROR_DETECTION, ...CONFORMAL],
] as const;
export type MetricId = (typeof METRICS)[number]['id'];

/**
 * As in `result.json`. Null: no row has a label, or what a metric needs is not there: two samples
 * (mutual information), right and wrong answers (of `error…`), 18 rows (`conformal…`), rows with
 * the same number of classes (MCC, F1; the F1 of two classes: two). The NLL is infinite where a
 * right class has probability 0.
 */
export type Metrics = Record<MetricId, number | null>;

export interface MetricsReport {
  readonly n: number;
  readonly nLabelled: number;
  readonly metrics: Metrics;
  readonly definitions: Readonly<Record<MetricId, string>>;
  /** Null where no row has a label. */
  readonly reliability: readonly ReliabilityBin[] | null;
}

export interface ReportOptions {
  readonly bins?: number;
  /** NLL and Brier score: mean over rows, or the reference's mean of batch means. */
  readonly mean?: 'rows' | 'batches';
  /** Needed for a mean of batch means. */
  readonly batchSize?: number;
  /** The class that the F1 of two classes is of; the second unless given. */
  readonly positive?: 0 | 1;
}

/** Metrics that need labels are taken over the rows that have one; all are null over no rows. */
export function metricsReport(
  rows: readonly ScoredRow[],
  options: ReportOptions = {},
): MetricsReport {
  const rule: MetricRule = { mean: 'rows', bins: DEFAULT_BINS, positive: 1, ...options };
  const labelled = labelledRows(rows);
  return {
    n: rows.length,
    nLabelled: labelled.length,
    metrics: byId((metric) => metric.compute(rows, rule)),
    definitions: byId((metric) => metric.definition(rule)),
    reliability: labelled.length === 0 ? null : reliability(labelled, rule.bins),
  };
}

function byId<T>(value: (metric: (typeof METRICS)[number]) => T): Record<MetricId, T> {
  return Object.fromEntries(METRICS.map((metric) => [metric.id, value(metric)])) as Record<
    MetricId,
    T
  >;
}
