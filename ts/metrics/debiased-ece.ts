/**
 * Debiased calibration error: the l2 error without the part that chance alone adds in each bin
 * (Kumar et al., arXiv 1909.10155, §5).
 *
 * ```text
 * CE² = Σ_j (n_j / n) · [ (acc_j − conf_j)² − acc_j (1 − acc_j) / (n_j − 1) ]       bins of the ECE, n_j ≥ 2
 * debiased ECE = sqrt(max(0, CE²))       in [0, 1]
 * ```
 *
 * CE² may fall below 0 by chance, where 0 is reported. A bin of one row cannot be debiased and is
 * left out.
 */

import { reliability } from './ece.ts';
import { ofLabelled } from './metric.ts';
import type { LabelledRow } from './scored-row.ts';

export const DEBIASED_ECE = ofLabelled({
  id: 'debiasedEce',
  definition: ({ bins }) =>
    'root of the sum over bins of n_bin/n * ((accuracy - mean confidence)^2 - accuracy * (1 - accuracy) / ' +
    `(n_bin - 1)), 0 where that is negative; ${bins} equal bins as for ece, those of one row left out`,
  of: (rows, { bins }) => debiasedEce(rows, bins),
});

/** NaN of no rows. */
export function debiasedEce(rows: readonly LabelledRow[], bins: number): number {
  if (rows.length === 0) return Number.NaN;
  let squared = 0;
  for (const { n, accuracy, confidence } of reliability(rows, bins)) {
    if (n < 2 || accuracy === null || confidence === null) continue;
    const chance = (accuracy * (1 - accuracy)) / (n - 1);
    squared += (n / rows.length) * ((accuracy - confidence) ** 2 - chance);
  }
  return Math.sqrt(Math.max(0, squared));
}
