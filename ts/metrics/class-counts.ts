/** How often each class is label, prediction, and both: what F1 and Matthews' correlation need. */

import { type LabelledRow, predictedClass } from './scored-row.ts';

/** (K) each. */
export interface ClassCounts {
  readonly labelled: readonly number[];
  readonly predicted: readonly number[];
  /** Rows with the class as both. */
  readonly right: readonly number[];
}

/** Null where rows have different numbers of classes, so that an index is not one class. */
export function classCounts(rows: readonly LabelledRow[]): ClassCounts | null {
  const classes = rows[0]?.probs.length ?? 0;
  if (rows.some(({ probs }) => probs.length !== classes)) return null;
  const zeros = (): number[] => Array.from({ length: classes }, () => 0);
  const [labelled, predicted, right] = [zeros(), zeros(), zeros()];
  const count = (counts: number[], index: number): void => {
    counts[index] = (counts[index] ?? 0) + 1;
  };
  for (const { probs, label } of rows) {
    const prediction = predictedClass(probs);
    count(labelled, label);
    count(predicted, prediction);
    if (prediction === label) count(right, label);
  }
  return { labelled, predicted, right };
}
