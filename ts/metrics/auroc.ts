/**
 * How well a score tells rows of another kind from those of the task: the area under the ROC curve,
 * in [0, 1].
 *
 * ```text
 * AUROC = P(s_out > s_in) + ½ P(s_out = s_in)        over all pairs (Mann–Whitney U / (n_in · n_out)); 0.5 is chance
 * ```
 *
 * Fawcett, "An introduction to ROC analysis" (2006), §7. Here s is the entropy of the prediction,
 * nats.
 */

export const AUROC_DEFINITION =
  'probability that a row without a right answer has the higher score, ties count half; 0.5 is chance';

/**
 * @param inside (n_in) scores of the task's rows; @param outside (n_out) scores of the others; NaN
 * of none
 */
export function auroc(inside: ArrayLike<number>, outside: ArrayLike<number>): number {
  const sorted = Float64Array.from(inside).sort();
  let wins = 0;
  for (let index = 0; index < outside.length; index += 1) {
    const score = outside[index] ?? Number.NaN;
    wins += (countBelow(sorted, score, false) + countBelow(sorted, score, true)) / 2;
  }
  return wins / (inside.length * outside.length);
}

/** Entries below `score`, or not above it. */
function countBelow(sorted: Float64Array, score: number, isInclusive: boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const value = sorted[middle] ?? 0;
    if (value < score || (isInclusive && value === score)) low = middle + 1;
    else high = middle;
  }
  return low;
}
