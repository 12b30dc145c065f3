/**
 * Accuracy, ECE, NLL and Brier score of resampled rows: what a row adds to them is computed once.
 */

import { isCorrect } from './accuracy.ts';
import { brier } from './brier.ts';
import { DEFAULT_BINS, eceOf, reliability } from './ece.ts';
import { nll } from './nll.ts';
import { confidence, type LabelledRow } from './scored-row.ts';

export const MEASURES = ['acc', 'ece', 'nll', 'brier'] as const;
export type Measure = (typeof MEASURES)[number];

/** The measures of the rows with the drawn numbers, of which a row may have several. */
export type MeasuresOf = (draw: Uint32Array) => Record<Measure, number>;

export function rowMeasures(rows: readonly LabelledRow[]): MeasuresOf {
  const right = Float64Array.from(rows, (row) => (isCorrect(row) ? 1 : 0));
  const losses = Float64Array.from(rows, (row) => nll([row]));
  const scores = Float64Array.from(rows, (row) => brier([row]));
  const certainties = Float64Array.from(rows, (row) => confidence(row.probs));
  const binOf = Uint8Array.from(rows, (row) =>
    reliability([row], DEFAULT_BINS).findIndex((bin) => bin.n === 1),
  );
  return (draw) => {
    const bins = Array.from({ length: DEFAULT_BINS + 1 }, () => ({
      n: 0,
      accuracy: 0,
      confidence: 0,
    }));
    let [accuracy, loss, score] = [0, 0, 0];
    for (const row of draw) {
      const bin = bins[binOf[row] ?? 0];
      accuracy += right[row] ?? 0;
      loss += losses[row] ?? 0;
      score += scores[row] ?? 0;
      if (bin === undefined) continue;
      bin.n += 1;
      bin.accuracy += right[row] ?? 0;
      bin.confidence += certainties[row] ?? 0;
    }
    const table = bins.map(({ n, accuracy: hits, confidence: sum }) => ({
      ...{
        lower: 0,
        upper: 0,
        n,
        accuracy: n === 0 ? null : hits / n,
        confidence: n === 0 ? null : sum / n,
      },
    }));
    const n = draw.length;
    return { acc: accuracy / n, ece: eceOf(table, n), nll: loss / n, brier: score / n };
  };
}
