// Medians, and how far to trust the median of a sample.

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * Confidence interval of the median by order statistics, whatever the distribution of n independent
 * values x₍₁₎ ≤ … ≤ x₍ₙ₎ (Conover, Practical Nonparametric Statistics, section 3.2): how many of
 * them lie below the median is Binomial(n, 1/2), hence
 *
 *   P(x₍ₖ₎ ≤ median ≤ x₍ₙ₊₁₋ₖ₎) ≥ 1 − 2 P(Binomial(n, 1/2) < k).
 *
 * Takes the largest k ≥ 1 that covers `confidence`; below 6 values none covers 0.95, and the whole
 * range is given with the coverage that it has.
 */
export function medianInterval(values, confidence = 0.95) {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  let probability = 0.5 ** n; // of exactly k − 1 values below the median
  let tail = probability; // of fewer than k
  let k = 1;
  for (; ; k += 1) {
    probability *= (n - k + 1) / k;
    if (2 * (tail + probability) > 1 - confidence) break;
    tail += probability;
  }
  return { low: sorted[k - 1], high: sorted[n - k], coverage: 1 - 2 * tail };
}

/** AFTER over BEFORE of a quantity that each pair measured once: above 1, AFTER has more of it. */
export function ratios(pairs, quantity) {
  return pairs.map(({ before, after }) => after[quantity] / before[quantity]);
}
