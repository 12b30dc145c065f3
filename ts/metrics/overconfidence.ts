/**
 * Overconfidence gap: mean confidence minus accuracy, in [−1, 1]; positive where a model is surer
 * than right.
 *
 * ```text
 * gap = (1/n) Σ_i max_k p_ik − acc
 * ```
 */

import { accuracy } from './accuracy.ts';
import { meanOf } from './mean.ts';
import { ofLabelled } from './metric.ts';
import { confidence, type LabelledRow } from './scored-row.ts';

export const OVERCONFIDENCE = ofLabelled({
  id: 'overconfidence',
  definition: () => 'mean confidence minus accuracy; positive where the model is surer than right',
  of: overconfidence,
});

/** NaN of no rows. */
export function overconfidence(rows: readonly LabelledRow[]): number {
  return meanOf(rows.map(({ probs }) => confidence(probs))) - accuracy(rows);
}
