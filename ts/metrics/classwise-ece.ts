/**
 * Classwise ECE: the calibration of every class's probability, not of the winner's alone (Kull et
 * al., arXiv 1910.12656, §2).
 *
 * ```text
 * for class k: n_k rows for which it competes; bins of p_ik, as the ECE's
 * cwECE = (1/K) Σ_k Σ_j (n_kj / n_k) · |mean_{bin kj} 1[y_i = k] − mean_{bin kj} p_ik|       in [0, 1]
 * ```
 */

import { binOf } from './ece.ts';
import { ofLabelled } from './metric.ts';
import type { LabelledRow } from './scored-row.ts';

export const CLASSWISE_ECE = ofLabelled({
  id: 'classwiseEce',
  definition: ({ bins }) =>
    'mean over classes of the sum over bins of n_bin/n * |frequency - mean probability| of the class; ' +
    `${bins} equal bins as for ece`,
  of: (rows, { bins }) => classwiseEce(rows, bins),
});

/** NaN of no rows. */
export function classwiseEce(rows: readonly LabelledRow[], bins: number): number {
  const classes = rows.reduce((most, { probs }) => Math.max(most, probs.length), 0);
  let sum = 0;
  for (let k = 0; k < classes; k += 1) {
    const own = rows.filter(({ probs }) => k < probs.length);
    const gaps = new Float64Array(bins + 1);
    for (const { probs, label } of own) {
      const p = probs[k] ?? 0;
      const bin = binOf(p, bins);
      gaps[bin] = (gaps[bin] ?? 0) + (label === k ? 1 : 0) - p;
    }
    sum += gaps.reduce((total, gap) => total + Math.abs(gap), 0) / own.length;
  }
  return sum / classes;
}
