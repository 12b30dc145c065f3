/**
 * False positives that a score costs where it finds 95 % of what it should find, in [0, 1]; the
 * lower the better.
 *
 * ```text
 * flag a row where s ≥ t
 * t = the largest threshold with  TPR = |{positives: s ≥ t}| / n_pos ≥ 0.95
 * FPR95 = |{negatives: s ≥ t}| / n_neg
 * ```
 *
 * Hendrycks & Gimpel, arXiv 1610.02136; Liang et al., arXiv 1706.02690, §4. Equal scores are
 * flagged together.
 */

const SENSITIVITY = 0.95;

/**
 * @param negatives scores of what must not be flagged; @param positives of what should be; NaN if
 * either is empty
 */
export function fpr95(negatives: ArrayLike<number>, positives: ArrayLike<number>): number {
  if (negatives.length === 0 || positives.length === 0) return Number.NaN;
  const sorted = Float64Array.from(positives).sort();
  const found = Math.ceil(SENSITIVITY * sorted.length);
  const threshold = sorted[sorted.length - found] ?? Number.NaN;
  let flagged = 0;
  for (let index = 0; index < negatives.length; index += 1) {
    if ((negatives[index] ?? Number.NaN) >= threshold) flagged += 1;
  }
  return flagged / negatives.length;
}
