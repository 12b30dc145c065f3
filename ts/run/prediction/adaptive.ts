/**
 * As many posterior samples as a row needs: `--samples auto`.
 *
 * ```text
 * unit       a sample, or an antithetic pair: u_i = its probabilities (the pair's mean)
 * p̄ = mean of the n units;   c the class with the largest p̄, c' any other;   d_i = u_i(c) − u_i(c')
 * h(x) = t_{n−1}(1 − α/(L·(K+1))) · sd(x)/√n      half-width of a mean's interval; L looks, K classes
 * settled    h(u(c)) ≤ ε  and, for every c', ( d̄ > h(d)  or  h(d) ≤ ε )
 * ```
 *
 * Rows are looked at after 8, 16, 32, 64, 128 and 256 units (at most 256 samples); those that are settled drop out, the others go on in a
 * smaller batch. The bound: with probability of about 1 − α = 0.95, the reported probability of the chosen class lies within ε = 0.02 of the
 * one that infinitely many samples would give, and the choice is theirs, unless another class lies within ε of it (Student's t; Bonferroni
 * over the looks, over both ends of the probability's interval and over the K − 1 rivals). It is approximate, as the units are no
 * Gaussians, and says nothing for a row that is still open after the last look.
 * A row that is settled after n samples has the answer of `--samples n`.
 */

import { raggedBatch } from '../../batches/ragged-batch.ts';
import type { EncodedExample } from '../../datasets/tokens/encode.ts';
import type { Adapter } from '../../engine/model.ts';
import { meanOf } from '../../metrics/mean.ts';
import { type Predictive, posteriorPredictive, softmax } from '../../metrics/predictive.ts';
import { studentQuantile } from '../../metrics/student.ts';
import { type EvaluationSettings, predictionRow } from '../evaluation/evaluate-split.ts';
import type { PredictionRow } from '../records/prediction-files.ts';

/** Units at each look; n − 1 is odd, as {@link studentQuantile} wants it. */
const LOOKS = [8, 16, 32, 64, 128, 256] as const;
const MAX_SAMPLES = 256;
/** ε */
const TOLERANCE = 0.02;
/** α */
const RISK = 0.05;

export interface AdaptiveRow extends PredictionRow {
  /** How many samples it took. */
  readonly samples: number;
  /** Whether the bound holds; false: still open after the last look. */
  readonly settled: boolean;
}

/** In the order of the examples. */
export async function predictAdaptively(
  adapter: Adapter,
  examples: readonly EncodedExample[],
  settings: Pick<EvaluationSettings, 'noise' | 'seed' | 'stochasticLayers' | 'sampling' | 'rule'>,
  signal: AbortSignal | undefined,
): Promise<AdaptiveRow[]> {
  const results: AdaptiveRow[] = [];
  let open = examples.map((example, index) => ({ example, index, logits: [] as Float32Array[] }));
  let done = 0;
  const perUnit = settings.sampling === 'antithetic' ? 2 : 1;
  const looks = LOOKS.filter((count) => count * perUnit <= MAX_SAMPLES);
  for (const [at, look] of looks.entries()) {
    if (open.length === 0) break;
    const batch = raggedBatch(open.map(({ example }) => example));
    const { rule, ...draws } = settings;
    const { dropout } = rule;
    const options = { ...draws, dropout, samples: look * perUnit - done, firstSample: done };
    const logits = await adapter.predict(batch, options, { signal });
    done = look * perUnit;
    const width = batch.answers.length;
    for (const [row, { logits: ofRow }] of open.entries()) {
      for (let sample = 0; sample < options.samples; sample += 1) {
        const from = sample * width + (batch.answerOffsets[row] ?? 0);
        ofRow.push(logits.slice(from, sample * width + (batch.answerOffsets[row + 1] ?? 0)));
      }
    }
    const isLast = at === looks.length - 1;
    open = open.filter(({ example, index, logits: ofRow }) => {
      const isSettled = settled(units(ofRow, perUnit), looks.length);
      if (isSettled || isLast) {
        results[index] = {
          ...predictionRow(example, predictive(ofRow), 0),
          samples: done,
          settled: isSettled,
        };
      }
      return !isSettled;
    });
  }
  return results;
}

/** Probabilities of each unit, (n, K). */
function units(logits: readonly Float32Array[], perUnit: 1 | 2): Float64Array[] {
  const samples = logits.map((row) => softmax(row));
  if (perUnit === 1) return samples;
  return samples.flatMap((first, index) => {
    const second = samples[index + 1];
    if (index % 2 === 1 || second === undefined) return [];
    return [first.map((p, k) => (p + (second[k] ?? 0)) / 2)];
  });
}

/** Whether the decision and its probability are settled, at one of `looks` looks; `rows` (n, K), K ≥ 2, n even. */
export function settled(rows: readonly Float64Array[], looks: number): boolean {
  const classes = rows[0]?.length ?? 0;
  const quantile = studentQuantile(1 - RISK / (looks * (classes + 1)), rows.length - 1);
  const ofClass = (k: number) => rows.map((row) => row[k] ?? 0);
  const means = Array.from({ length: classes }, (_, k) => meanOf(ofClass(k)));
  const best = means.indexOf(Math.max(...means));
  return (
    halfWidth(ofClass(best), quantile) <= TOLERANCE &&
    means.every((_, rival) => {
      if (rival === best) return true;
      const lead = rows.map((row) => (row[best] ?? 0) - (row[rival] ?? 0));
      const ofLead = halfWidth(lead, quantile);
      return meanOf(lead) > ofLead || ofLead <= TOLERANCE;
    })
  );
}

/** Of one row's samples. */
function predictive(logits: readonly Float32Array[]): Predictive {
  const classes = logits[0]?.length ?? 0;
  const all = new Float32Array(logits.length * classes);
  for (const [sample, row] of logits.entries()) all.set(row, sample * classes);
  return posteriorPredictive(all, Uint32Array.of(0, classes), logits.length);
}

function halfWidth(values: readonly number[], quantile: number): number {
  const middle = meanOf(values);
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  return quantile * Math.sqrt(squares / (values.length - 1) / values.length);
}
