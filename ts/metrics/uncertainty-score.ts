/**
 * Scores of how unsure a prediction is: the higher, the less it should be trusted.
 *
 * ```text
 * maxProbability      −max_k p_k            orders rows as 1 − max_k p_k, without its rounding
 * entropy              H(p)                  nats
 * mutualInformation   I                     nats; needs two samples (`predictive.ts`)
 * ```
 */

import { entropy } from './entropy.ts';
import { confidence, type ScoredRow } from './scored-row.ts';

export const UNCERTAINTY_SCORES = ['maxProbability', 'entropy', 'mutualInformation'] as const;
export type UncertaintyScore = (typeof UNCERTAINTY_SCORES)[number];

export const SCORE_TEXTS: Readonly<Record<UncertaintyScore, string>> = {
  maxProbability: '1 - the largest probability',
  entropy: 'the entropy of the mean probabilities',
  mutualInformation: 'the mutual information',
};

/** (n) scores; null where a row lacks what they need. */
export function uncertaintyScores(
  rows: readonly ScoredRow[],
  score: UncertaintyScore,
): Float64Array | null {
  const values = new Float64Array(rows.length);
  for (const [index, row] of rows.entries()) {
    const value = scoreOf(row, score);
    if (value === null) return null;
    values[index] = value;
  }
  return values;
}

function scoreOf({ probs, mutualInformation }: ScoredRow, score: UncertaintyScore): number | null {
  switch (score) {
    case 'maxProbability':
      return -confidence(probs);
    case 'entropy':
      return entropy(probs);
    case 'mutualInformation':
      return mutualInformation ?? null;
  }
}
