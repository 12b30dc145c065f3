/**
 * Expected calibration error and the reliability table behind it (Guo et al., arXiv 1706.04599,
 * §2).
 *
 * ```text
 * c_i = max_k p_ik;  edges b_j = j / J, j = 0 … J;  bin j = { i : b_j ≤ c_i < b_{j+1} }, and c_i = 1 in a bin of its own
 * ECE = Σ_j (n_j / n) · |acc_j − conf_j|       in [0, 1]
 * ```
 *
 * The edges are torchmetrics' (`MulticlassCalibrationError`, norm l1), here in float64.
 * Laplace-LoRA and others use other bins, so the definition stands in every result.
 */

import { isCorrect } from './accuracy.ts';
import { ofLabelled } from './metric.ts';
import { confidence, type LabelledRow } from './scored-row.ts';

export interface ReliabilityBin {
  readonly lower: number;
  readonly upper: number;
  readonly n: number;
  /** Null in an empty bin. */
  readonly accuracy: number | null;
  /** Mean confidence; null in an empty bin. */
  readonly confidence: number | null;
}

export const DEFAULT_BINS = 15;

export const ECE = ofLabelled({
  id: 'ece',
  definition: ({ bins }) =>
    `sum over confidence bins of n_bin/n * |accuracy - mean confidence|; ${bins} equal bins on [0, 1], ` +
    'left-closed, confidence 1.0 in an extra bin (torchmetrics, l1)',
  of: (rows, { bins }) => ece(rows, bins),
});

export function ece(rows: readonly LabelledRow[], bins: number = DEFAULT_BINS): number {
  return eceOf(reliability(rows, bins), rows.length);
}

/** ECE of a reliability table over n rows; NaN of none. */
export function eceOf(table: readonly ReliabilityBin[], n: number): number {
  if (n === 0) return Number.NaN;
  return table.reduce(
    (sum, bin) => sum + (bin.n / n) * Math.abs((bin.accuracy ?? 0) - (bin.confidence ?? 0)),
    0,
  );
}

/** J + 1 bins: the last holds the confidences of exactly 1. */
export function reliability(
  rows: readonly LabelledRow[],
  bins: number = DEFAULT_BINS,
): ReliabilityBin[] {
  const sums = Array.from({ length: bins + 1 }, () => ({ n: 0, correct: 0, confidence: 0 }));
  for (const row of rows) {
    const certainty = confidence(row.probs);
    const sum = sums[binOf(certainty, bins)];
    if (sum === undefined) continue;
    sum.n += 1;
    sum.correct += isCorrect(row) ? 1 : 0;
    sum.confidence += certainty;
  }
  return sums.map((sum, index) => ({
    lower: index / bins,
    upper: Math.min(1, (index + 1) / bins),
    n: sum.n,
    accuracy: sum.n === 0 ? null : sum.correct / sum.n,
    confidence: sum.n === 0 ? null : sum.confidence / sum.n,
  }));
}

/** Of 0 … J: the bin that a probability falls into. */
export function binOf(certainty: number, bins: number): number {
  let bin = Math.min(bins, Math.max(0, Math.floor(certainty * bins)));
  // The product may round across an edge; the edges themselves decide.
  if (certainty < bin / bins) bin -= 1;
  else if (bin < bins && certainty >= (bin + 1) / bins) bin += 1;
  return Math.max(0, bin);
}
