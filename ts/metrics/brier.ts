/**
 * Brier score over all classes, in [0, 2].
 *
 * ```text
 * Brier = mean_i Σ_k (p_ik − 1[k = y_i])²
 * ```
 */

import { type MeanRule, meanOver } from './mean.ts';
import type { LabelledRow } from './scored-row.ts';

export const BRIER_DEFINITION = 'sum over classes of (probability - 1[class = label])^2, 0 to 2';

export function brier(rows: readonly LabelledRow[], rule: MeanRule = { mean: 'rows' }): number {
  return meanOver(rows.map(rowBrier), rule);
}

function rowBrier({ probs, label }: LabelledRow): number {
  let sum = 0;
  for (let index = 0; index < probs.length; index += 1) {
    sum += ((probs[index] ?? 0) - (index === label ? 1 : 0)) ** 2;
  }
  return sum;
}
