/**
 * What a metric of an evaluation is: its name in `result.json`, what it means, and how it is
 * computed.
 */

import type { MeanRule } from './mean.ts';
import type { LabelledRow, ScoredRow } from './scored-row.ts';

/** What an evaluation chooses about its metrics. */
export interface MetricRule extends MeanRule {
  /** J, bins of the ECE. */
  readonly bins: number;
  /** Which of two classes the binary F1 is of. */
  readonly positive: 0 | 1;
}

export interface Metric<Id extends string = string> {
  readonly id: Id;
  definition(rule: MetricRule): string;
  /** Null where the rows lack what it needs. */
  compute(rows: readonly ScoredRow[], rule: MetricRule): number | null;
}

/**
 * A metric over the rows whose right class is known; null without any, where they lack something,
 * and where it is NaN.
 */
export function ofLabelled<Id extends string>(
  metric: Omit<Metric<Id>, 'compute'> & {
    of(rows: readonly LabelledRow[], rule: MetricRule): number | null;
  },
): Metric<Id> {
  const { id, definition, of } = metric;
  return {
    id,
    definition,
    compute: (rows, rule) => {
      const labelled = labelledRows(rows);
      const value = labelled.length === 0 ? Number.NaN : of(labelled, rule);
      return Number.isNaN(value) ? null : value;
    },
  };
}

export function labelledRows(rows: readonly ScoredRow[]): LabelledRow[] {
  return rows.filter((row): row is LabelledRow => row.label !== null);
}
