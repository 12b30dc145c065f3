/**
 * What abstaining buys (Geifman & El-Yaniv, arXiv 1705.08500, §2).
 *
 * ```text
 * sort rows by confidence, the surest first
 * coverage_j = j / n;  risk_j = wrong among the first j / j,  j = 1 … n
 * AURC = (1/n) Σ_j risk_j       in [0, 1]; the lower, the better confidence tells right from wrong
 * ```
 *
 * Rows of equal confidence cannot be told apart: each takes the mean error of its group.
 */

import { isCorrect } from './accuracy.ts';
import { confidence, type LabelledRow } from './scored-row.ts';

export interface RiskPoint {
  /** Share of rows that are answered, (0, 1]. */
  readonly coverage: number;
  /** Share of wrong answers among them. */
  readonly risk: number;
}

export const AURC_DEFINITION = 'mean over j of the error rate among the j most confident rows';

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
