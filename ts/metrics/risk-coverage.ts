/**
 * What abstaining buys (Geifman & El-Yaniv, arXiv 1705.08500, §2).
 *
 * ```text
 * sort rows by confidence, the surest first
 * coverage_j = j / n;  risk_j = wrong among the first j / j,  j = 1 … n
 * AURC = (1/n) Σ_j risk_j       in [0, 1]; the lower, the better confidence tells right from wrong
 * E-AURC = AURC − AURC*,  AURC* = (1/n) Σ_j max(0, j − (n − w)) / j       all w wrong rows last
 * selective accuracy at q = 1 − risk_⌈q·n⌉
 * ```
 *
 * E-AURC: Geifman et al., arXiv 1805.08206, §3: what better confidence could still gain at this
 * accuracy. Rows of equal confidence cannot be told apart: each takes the mean error of its group.
 */

import { accuracy, isCorrect } from './accuracy.ts';
import { ofLabelled } from './metric.ts';
import { confidence, type LabelledRow } from './scored-row.ts';

export interface RiskPoint {
  /** Share of rows that are answered, (0, 1]. */
  readonly coverage: number;
  /** Share of wrong answers among them. */
  readonly risk: number;
}

export const AURC_DEFINITION = 'mean over j of the error rate among the j most confident rows';

export const AURC = ofLabelled({
  id: 'aurc',
  definition: () => AURC_DEFINITION,
  of: (rows) => aurc(riskCoverage(rows)),
});

export const E_AURC = ofLabelled({
  id: 'eAurc',
  definition: () =>
    'aurc minus that of an order which has every right answer before every wrong one',
  of: excessAurc,
});

/** Shares of rows that are answered. */
const COVERAGES = [0.5, 0.8, 0.9] as const;

export const SELECTIVE_ACCURACY = COVERAGES.map((coverage) =>
  ofLabelled({
    id: `selectiveAccuracy${percent(coverage)}`,
    definition: () => `accuracy on the ${percent(coverage)} % of rows of the highest confidence`,
    of: (rows) => selectiveAccuracy(riskCoverage(rows), coverage),
  }),
);

type Percent = 50 | 80 | 90;

function percent(coverage: (typeof COVERAGES)[number]): Percent {
  return Math.round(100 * coverage) as Percent;
}

/** (n) points, the surest row first. */
export function riskCoverage(rows: readonly LabelledRow[]): RiskPoint[] {
  const sorted = rows
    .map((row) => ({ certainty: confidence(row.probs), wrong: isCorrect(row) ? 0 : 1 }))
    .sort((a, b) => b.certainty - a.certainty);
  const points: RiskPoint[] = [];
  let wrong = 0;
  for (let from = 0; from < sorted.length; ) {
    let to = from;
    while (sorted[to]?.certainty === sorted[from]?.certainty && to < sorted.length) to += 1;
    const errors = sorted.slice(from, to).reduce((sum, row) => sum + row.wrong, 0);
    for (let index = from; index < to; index += 1) {
      wrong += errors / (to - from);
      points.push({ coverage: (index + 1) / sorted.length, risk: wrong / (index + 1) });
    }
    from = to;
  }
  return points;
}

/** NaN of no points. */
export function aurc(points: readonly RiskPoint[]): number {
  return points.reduce((sum, { risk }) => sum + risk, 0) / points.length;
}

/** NaN of no rows. */
export function excessAurc(rows: readonly LabelledRow[]): number {
  const n = rows.length;
  const right = Math.round(accuracy(rows) * n);
  let oracle = 0;
  for (let j = right + 1; j <= n; j += 1) oracle += (j - right) / j / n;
  // Rounding may take the best order a hair below zero.
  return Math.max(0, aurc(riskCoverage(rows)) - oracle);
}

/** Of the ⌈coverage · n⌉ surest rows; NaN of none. */
export function selectiveAccuracy(points: readonly RiskPoint[], coverage: number): number {
  // The product may round a hair above a whole number.
  const last = points[Math.ceil(coverage * points.length - 1e-9) - 1];
  return 1 - (last?.risk ?? Number.NaN);
}
