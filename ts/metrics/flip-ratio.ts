/**
 * Share of rows whose answer the noise of the posterior changes, in [0, 1]: the reference's
 * `val_flip_ratio`, by which TFB watches its search (arXiv 2412.05723).
 *
 * ```text
 * flips = (1/n) Σ_i 1[argmax_k p_ik ≠ argmax_k q_ik]      of equal probabilities the first class wins
 * ```
 *
 * p are the probabilities of one evaluation, q those of another of the same n rows in the same
 * order.
 */

import { meanOf } from './mean.ts';
import { predictedClass, type ScoredRow } from './scored-row.ts';

export const FLIP_RATIO_DEFINITION =
  'share of rows whose most probable class (of equals the first) the posterior samples change';

export function flipRatio(rows: readonly ScoredRow[], others: readonly ScoredRow[]): number {
  const answers = others.map(({ probs }) => predictedClass(probs));
  return meanOf(rows.map(({ probs }, index) => (predictedClass(probs) === answers[index] ? 0 : 1)));
}
