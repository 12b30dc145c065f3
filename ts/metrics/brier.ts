/**
 * Brier score over all classes, in [0, 2].
 *
 * ```text
 * Brier = mean_i Σ_k (p_ik − 1[k = y_i])²
 * ```
 */

import { MEAN_DEFINITIONS, type MeanRule, meanOver } from './mean.ts';
import { ofLabelled } from './metric.ts';
import type { LabelledRow } from './scored-row.ts';

export const BRIER = ofLabelled({
  id: 'brier',
  definition: ({ mean }) =>
    `sum over classes of (probability - 1[class = label])^2, 0 to 2; ${MEAN_DEFINITIONS[mean]}`,
  of: brier,
});

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
