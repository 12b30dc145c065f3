/**
 * Adaptive ECE: the calibration error over groups of equally many rows (Nguyen & O'Connor, arXiv
 * 1508.05154, §4; Nixon et al., arXiv 1904.01685), which no empty or crowded bin distorts.
 *
 * ```text
 * sort rows by confidence c; J groups of ⌈n/J⌉ and then ⌊n/J⌋ rows
 * ACE = Σ_j (n_j / n) · |acc_j − conf_j|       in [0, 1]
 * ```
 *
 * Rows of equal confidence keep the order of the file.
 */

import { isCorrect } from './accuracy.ts';
import { ofLabelled } from './metric.ts';
import { confidence, type LabelledRow } from './scored-row.ts';

export const ADAPTIVE_ECE = ofLabelled({
  id: 'adaptiveEce',
  definition: ({ bins }) =>
    `sum over ${bins} groups of equally many rows, by confidence, of n_group/n * |accuracy - mean confidence|`,
  of: (rows, { bins }) => adaptiveEce(rows, bins),
});

/** NaN of no rows. */
export function adaptiveEce(rows: readonly LabelledRow[], groups: number): number {
  const sorted = rows
    .map((row) => ({ certainty: confidence(row.probs), hit: isCorrect(row) ? 1 : 0 }))
    .sort((a, b) => a.certainty - b.certainty);
  const [size, larger] = [Math.floor(rows.length / groups), rows.length % groups];
  let sum = 0;
  for (let group = 0, from = 0; group < groups; group += 1) {
    const to = from + size + (group < larger ? 1 : 0);
    const own = sorted.slice(from, to);
    sum += Math.abs(own.reduce((gap, { certainty, hit }) => gap + hit - certainty, 0));
    from = to;
  }
  return sum / rows.length;
}
