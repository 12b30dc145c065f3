/**
 * The noise floor of the ECE: what a perfectly calibrated model with these confidences would score
 * on as many rows, on average. An ECE near it is no evidence of miscalibration.
 *
 * ```text
 * a_i ~ Bernoulli(c_i), independent: a model that is right as often as it says
 * floor = E[ECE] = (1/n) Σ_j E|S_j|,      S_j = Σ_{i ∈ bin j} (a_i − c_i),  bins of the ECE
 * Var S_j = V = Σ_{i ∈ bin j} c_i (1 − c_i)
 * V ≤ 25   E|S_j| from the distribution of the number of wrong rows, one row after the other
 * V > 25   E|S_j| = sqrt(2V/π), the normal law's; its relative error is about 1/(12V)
 * ```
 *
 * The expectation is that of the simulation by consistency resampling (Bröcker & Smith 2007),
 * without its randomness. In [0, 1], as the ECE.
 */

import { binOf, DEFAULT_BINS } from './ece.ts';
import { ofLabelled } from './metric.ts';
import { confidence, type LabelledRow } from './scored-row.ts';

export const ECE_NOISE_FLOOR = ofLabelled({
  id: 'eceNoiseFloor',
  definition: () =>
    'mean ECE of a perfectly calibrated model with the same confidences on the same number of rows',
  of: (rows, { bins }) => eceNoiseFloor(rows, bins),
});

/** NaN of no rows. */
export function eceNoiseFloor(rows: readonly LabelledRow[], bins: number = DEFAULT_BINS): number {
  const byBin = Array.from({ length: bins + 1 }, (): number[] => []);
  for (const { probs } of rows) {
    const certainty = confidence(probs);
    byBin[binOf(certainty, bins)]?.push(certainty);
  }
  return byBin.reduce((sum, certainties) => sum + meanDeviation(certainties), 0) / rows.length;
}

/** Beyond it the law of S_j is as good as normal. */
const LARGE_VARIANCE = 25;

/** E|S_j| */
function meanDeviation(certainties: readonly number[]): number {
  const variance = certainties.reduce((sum, c) => sum + c * (1 - c), 0);
  if (variance > LARGE_VARIANCE) return Math.sqrt((2 * variance) / Math.PI);
  const mistakes = certainties.reduce((sum, c) => sum + (1 - c), 0);
  return mistakeLaw(certainties).reduce((sum, p, count) => sum + p * Math.abs(count - mistakes), 0);
}

/** P(k wrong rows), k = 0 …; what is left out beyond is below 1e-15. */
function mistakeLaw(certainties: readonly number[]): number[] {
  const law = [1];
  for (const c of certainties) {
    let before = 0;
    for (let count = 0; count < law.length; count += 1) {
      const here = law[count] ?? 0;
      law[count] = here * c + before * (1 - c);
      before = here;
    }
    if (before * (1 - c) > NEGLIGIBLE) law.push(before * (1 - c));
  }
  return law;
}

const NEGLIGIBLE = 1e-18;
