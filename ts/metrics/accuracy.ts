/**
 * Accuracy: the share of rows whose most probable class is the right one, in [0, 1].
 *
 * ```text
 * acc = (1/n) Σ_i 1[argmax_k p_ik = y_i]      of equal probabilities the first class wins
 * ```
 */

import { meanOf } from './mean.ts';
import { ofLabelled } from './metric.ts';
import { type LabelledRow, predictedClass } from './scored-row.ts';

export const ACCURACY = ofLabelled({
  id: 'acc',
  definition: () => 'share of rows whose most probable class (of equals the first) is the label',
  of: accuracy,
});

export function accuracy(rows: readonly LabelledRow[]): number {
  return meanOf(rows.map((row) => (isCorrect(row) ? 1 : 0)));
}

export function isCorrect({ probs, label }: LabelledRow): boolean {
  return predictedClass(probs) === label;
}
