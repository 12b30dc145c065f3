/**
 * Entropy of a predictive distribution, in nats: 0 for a certain one, ln K for a uniform one.
 *
 * ```text
 * H(p) = −Σ_k p_k ln p_k        0 ln 0 = 0
 * ```
 */

import { meanOf } from './mean.ts';
import type { Metric } from './metric.ts';

export const ENTROPY: Metric<'entropy'> = {
  id: 'entropy',
  definition: () => 'mean over rows of the entropy of the mean probabilities, nats',
  compute: (rows) => (rows.length === 0 ? null : meanOf(rows.map(({ probs }) => entropy(probs)))),
};

export function entropy(probs: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < probs.length; index += 1) {
    const p = probs[index] ?? 0;
    if (p > 0) sum -= p * Math.log(p);
  }
  return sum;
}
