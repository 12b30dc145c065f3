/**
 * F1 of hard predictions, in [0, 1]: of one class the harmonic mean of precision and recall.
 *
 * ```text
 * F1_k = 2·TP_k / (predicted_k + labelled_k)
 * binary   F1_+: of the positive of two classes: of the second, as GLUE scores MRPC and QQP, unless
 *          the task says otherwise (BoolQ: of true)
 * macro    mean of F1_k over the classes that some row has as label or prediction
 * ```
 *
 * TP_k counts rows with both; the prediction is the most probable class, of equals the first. A
 * class that no row has, as label or prediction, has no F1: numerator and denominator are 0. The
 * binary F1 is 0 then.
 */

import { type ClassCounts, classCounts } from './class-counts.ts';
import { meanOf } from './mean.ts';
import { ofLabelled } from './metric.ts';
import type { LabelledRow } from './scored-row.ts';

export const F1 = ofLabelled({
  id: 'f1',
  definition: ({ positive }) =>
    `of two classes, F1 of the ${positive === 0 ? 'first' : 'second'}: 2 TP / (predicted + labelled); else null`,
  of: (rows, { positive }) => binaryF1(rows, positive),
});

export const MACRO_F1 = ofLabelled({
  id: 'macroF1',
  definition: () =>
    "mean of F1 over the classes that are some row's label or prediction; null if rows' classes differ",
  of: macroF1,
});

/** Of the class of index `positive`; null unless every row has the same two classes. */
export function binaryF1(rows: readonly LabelledRow[], positive: 0 | 1 = 1): number | null {
  const counts = classCounts(rows);
  return counts?.labelled.length === 2 ? (f1Of(counts, positive) ?? 0) : null;
}

/** Null unless every row has the same number of classes. */
export function macroF1(rows: readonly LabelledRow[]): number | null {
  const counts = classCounts(rows);
  if (counts === null) return null;
  const all = counts.labelled.map((_, index) => f1Of(counts, index));
  return meanOf(all.filter((f1) => f1 !== null));
}

/** Null of a class that no row has. */
function f1Of({ labelled, predicted, right }: ClassCounts, index: number): number | null {
  const total = (predicted[index] ?? 0) + (labelled[index] ?? 0);
  return total === 0 ? null : (2 * (right[index] ?? 0)) / total;
}
