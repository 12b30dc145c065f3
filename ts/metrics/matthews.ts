/**
 * Matthews' correlation of label and prediction for any number of classes, in [−1, 1]
 * (Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient").
 *
 * ```text
 * R_K = (c·n − Σ_k p_k·t_k) / √((n² − Σ_k p_k²)·(n² − Σ_k t_k²))
 * ```
 *
 * Of n rows c are right; p_k and t_k have class k as prediction (the most probable class, of equals
 * the first) and as label. 0 where all rows have one label, or one prediction. GLUE scores CoLA by
 * it.
 */

import { classCounts } from './class-counts.ts';
import { ofLabelled } from './metric.ts';
import type { LabelledRow } from './scored-row.ts';

export const MATTHEWS = ofLabelled({
  id: 'mcc',
  definition: () =>
    "Matthews' correlation of label and most probable class, -1 to 1; null if rows' classes differ",
  of: matthews,
});

/** Null unless every row has the same number of classes. */
export function matthews(rows: readonly LabelledRow[]): number | null {
  const counts = classCounts(rows);
  if (counts === null) return null;
  const { labelled, predicted, right } = counts;
  const n = rows.length;
  const spread = (of: readonly number[]): number => n * n - products(of, of);
  const scale = Math.sqrt(spread(predicted) * spread(labelled));
  if (scale === 0) return 0;
  return (right.reduce((sum, count) => sum + count, 0) * n - products(predicted, labelled)) / scale;
}

function products(first: readonly number[], second: readonly number[]): number {
  return first.reduce((sum, count, index) => sum + count * (second[index] ?? 0), 0);
}
