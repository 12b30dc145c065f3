/**
 * Split-conformal sets: how many classes an answer must name to hold the right one in 90 % of rows.
 *
 * ```text
 * score s_k of class k    LAC  1 − p_k                              (Sadinle et al., arXiv 1609.00451)
 *                         APS  Σ_{j: p_j > p_k} p_j + u·p_k,  u ~ U[0, 1) of the row   (Romano et al., arXiv 2006.02544, §2)
 * q̂ = the ⌈(m + 1)(1 − α)⌉-th smallest s_y of m calibration rows; ∞ where there are fewer
 * set = {k: s_k ≤ q̂};  coverage = share of test rows whose set holds y;  size = mean |set|       α = 0.1
 * ```
 *
 * An evaluation calibrates on a random half of its rows and tests on the other, and averages over
 * 20 such splits (seed 1). As halves are exchangeable, coverage is then 1 − α up to 1/(m + 1),
 * whatever the model: the size tells models apart. Calibration on one split and coverage on another
 * is the honest test of a shift.
 */

import { ofLabelled } from './metric.ts';
import { randomBelow } from './random.ts';
import type { LabelledRow } from './scored-row.ts';

const SCORES = ['lac', 'aps'] as const;
export type ConformalScore = (typeof SCORES)[number];

const NAMES = { lac: 'Lac', aps: 'Aps' } as const;

const RISK = 0.1;
const SPLITS = 20;
const SEED = 1;

export interface ConformalSets {
  /** Share of test rows whose set holds the label; NaN of none. */
  readonly coverage: number;
  /** Classes per set; NaN of no test rows. */
  readonly size: number;
}

/** A row with its u in [0, 1), which LAC does not use. */
export interface RankedRow extends LabelledRow {
  readonly u: number;
}

export const CONFORMAL = SCORES.flatMap((score) => [
  ofLabelled({
    id: `conformal${NAMES[score]}Coverage` as const,
    definition: () =>
      `share of rows whose ${score.toUpperCase()} set holds the label; ${PROCEDURE}`,
    of: (rows) => ofHalves(rows, score).coverage,
  }),
  ofLabelled({
    id: `conformal${NAMES[score]}Size` as const,
    definition: () => `mean number of classes in the ${score.toUpperCase()} set; ${PROCEDURE}`,
    of: (rows) => ofHalves(rows, score).size,
  }),
]);

const PROCEDURE = `split-conformal at ${1 - RISK}, calibrated on a random half, mean over ${SPLITS} splits`;

/** Sets of `test` by the quantile of `calibration`. */
export function conformalSets(
  calibration: readonly RankedRow[],
  test: readonly RankedRow[],
  { score, risk = RISK }: { score: ConformalScore; risk?: number },
): ConformalSets {
  const scored = (row: RankedRow) => scoresOf(row, score);
  return setsOf(calibration.map(scored), test.map(scored), risk);
}

interface RowScores {
  /** s_k of every class. */
  readonly all: Float64Array;
  /** s_y */
  readonly own: number;
}

function scoresOf({ probs, label, u }: RankedRow, score: ConformalScore): RowScores {
  const all = Float64Array.from(probs, (p) => {
    if (score === 'lac') return 1 - p;
    let above = 0;
    for (let other = 0; other < probs.length; other += 1) {
      if ((probs[other] ?? 0) > p) above += probs[other] ?? 0;
    }
    return above + u * p;
  });
  return { all, own: all[label] ?? Number.POSITIVE_INFINITY };
}

function setsOf(
  calibration: readonly RowScores[],
  test: readonly RowScores[],
  risk: number,
): ConformalSets {
  const sorted = Float64Array.from(calibration, ({ own }) => own).sort();
  // (m + 1)(1 − α) may round a hair above a whole number.
  const rank = Math.ceil((sorted.length + 1) * (1 - risk) - 1e-9);
  const quantile = sorted[rank - 1] ?? Number.POSITIVE_INFINITY;
  let [covered, classes] = [0, 0];
  for (const { all, own } of test) {
    if (own <= quantile) covered += 1;
    for (const score of all) if (score <= quantile) classes += 1;
  }
  return { coverage: covered / test.length, size: classes / test.length };
}

/** NaN below 18 rows: no quantile of 8 leaves a tenth above it. */
function ofHalves(rows: readonly LabelledRow[], score: ConformalScore): ConformalSets {
  const below = randomBelow(SEED);
  const scores = rows.map((row) => scoresOf({ ...row, u: below(2 ** 32) / 2 ** 32 }, score));
  const half = Math.floor(rows.length / 2);
  if ((half + 1) * RISK < 1) return { coverage: Number.NaN, size: Number.NaN };
  let [coverage, size] = [0, 0];
  for (let split = 0; split < SPLITS; split += 1) {
    for (let last = scores.length - 1; last > 0; last -= 1) {
      const other = below(last + 1);
      [scores[last], scores[other]] = [scores[other] as RowScores, scores[last] as RowScores];
    }
    const sets = setsOf(scores.slice(0, half), scores.slice(half), RISK);
    coverage += sets.coverage;
    size += sets.size;
  }
  return { coverage: coverage / SPLITS, size: size / SPLITS };
}
