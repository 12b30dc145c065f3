/** All metrics of an evaluation, with the definition of each. Fractions and nats, never percent. */

import { ACCURACY_DEFINITION, accuracy } from './accuracy.ts';
import { BRIER_DEFINITION, brier } from './brier.ts';
import { DEFAULT_BINS, eceDefinition, eceOf, type ReliabilityBin, reliability } from './ece.ts';
import { ENTROPY_DEFINITION, entropy } from './entropy.ts';
import { type MeanRule, meanOf } from './mean.ts';
import { NLL_DEFINITION, nll } from './nll.ts';
import { MUTUAL_INFORMATION_DEFINITION } from './predictive.ts';
import type { LabelledRow, ScoredRow } from './scored-row.ts';

/** As in `result.json`. Null: no row has a label, or (mutual information) fewer than two samples. */
export interface Metrics {
  acc: number | null;
  ece: number | null;
  /** Infinity where a right class has probability 0. */
  nll: number | null;
  brier: number | null;
  entropy: number | null;
  mutual_information: number | null;
}

export interface MetricsReport {
  readonly n: number;
  readonly n_labelled: number;
  readonly metrics: Metrics;
  readonly definitions: Readonly<Record<keyof Metrics, string>>;
  /** Null where no row has a label. */
  readonly reliability: readonly ReliabilityBin[] | null;
}

export interface ReportOptions {
  readonly bins?: number;
  /** NLL and Brier score: mean over rows, or the reference's mean of batch means. */
  readonly mean?: 'rows' | 'batches';
  /** Needed for a mean of batch means. */
  readonly batchSize?: number;
}

/** Metrics that need labels are taken over the rows that have one; all are null over no rows. */
export function metricsReport(rows: readonly ScoredRow[], options: ReportOptions = {}): MetricsReport {
  const { bins = DEFAULT_BINS, mean = 'rows', batchSize } = options;
  const rule: MeanRule = batchSize === undefined ? { mean } : { mean, batchSize };
  const labelled = rows.filter((row): row is LabelledRow => row.label !== null);
  const table = labelled.length === 0 ? null : reliability(labelled, bins);
  return {
    n: rows.length,
    n_labelled: labelled.length,
    metrics: {
      acc: table && accuracy(labelled),
      ece: table && eceOf(table, labelled.length),
      nll: table && nll(labelled, rule),
      brier: table && brier(labelled, rule),
      entropy: rows.length === 0 ? null : meanOf(rows.map(({ probs }) => entropy(probs))),
      mutual_information: meanInformation(rows),
    },
    definitions: definitions(bins, mean),
    reliability: table,
  };
}

function meanInformation(rows: readonly ScoredRow[]): number | null {
  const values = rows.map(({ mutualInformation }) => mutualInformation ?? null);
  const known = values.filter((value) => value !== null);
  return known.length === 0 || known.length < values.length ? null : meanOf(known);
}

function definitions(bins: number, mean: 'rows' | 'batches'): Record<keyof Metrics, string> {
  const over = mean === 'rows' ? 'mean over rows' : 'unweighted mean of batch means';
  return {
    acc: ACCURACY_DEFINITION,
    ece: eceDefinition(bins),
    nll: `${NLL_DEFINITION}; ${over}`,
    brier: `${BRIER_DEFINITION}; ${over}`,
    entropy: ENTROPY_DEFINITION,
    mutual_information: MUTUAL_INFORMATION_DEFINITION,
  };
}
