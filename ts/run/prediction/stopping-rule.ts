/**
 * When `--samples auto` stops drawing for a row: a heuristic, whose failures are measured.
 *
 * ```text
 * unit   a sample, or an antithetic pair: u_i = its probabilities (the pair's mean), n of them
 * c      the class with the largest p̄ = mean of u_i;  c' any other;  d_i = u_i(c) − u_i(c')
 * ℓ_s    = ln p_s(c) − ln(1 − p_s(c)) of each sample; mean μ, standard deviation σ
 * g      a unit's probability of c if ℓ ~ N(μ, (κσ)²); mean ḡ, standard deviation sd(g); κ = 1.25
 * h(s)   = t_{n−1}(1 − α/(L·(K+1))) · s/√n;  L looks, K classes, α = 0.05
 * stop   |ḡ − p̄(c)| ≤ ε,  h(max(sd(u(c)), sd(g))) ≤ ε,
 *        and for every c':  d̄ > h(sd(d)) or h(sd(d)) ≤ ε;  ε = 0.02
 * ```
 *
 * The aim: p̄(c) within ε of what infinitely many samples would give, and c their choice unless
 * another class is within ε of it. Student's interval alone is too sure of probabilities near 0
 * or 1, where few samples show the spread that their log-odds show: hence g. Bonferroni over looks,
 * both ends and rivals. Nothing is promised: from n units that agree, a mode that one unit in n
 * falls into cannot be told from none, so no rule of so few samples keeps a promise for every law
 * (docs/adr/0019-samples-auto-promises-nothing.md).
 */

import { predictedClass } from '../../metrics/scored-row.ts';
import { studentQuantile } from '../../metrics/student.ts';

const MAX_SAMPLES = 256;
/** ε */
const TOLERANCE = 0.02;
/** α */
const RISK = 0.05;
/** κ: the standard deviation of 16 log-odds may be as much too small. */
const INFLATION = 1.25;

/** Samples in a unit. */
export type PerUnit = 1 | 2;

/** Units at each look. */
export function looksFor(perUnit: PerUnit): number[] {
  return [16, 32, 64, 128, 256].filter((units) => units * perUnit <= MAX_SAMPLES);
}

/** Whether to stop, at one of `looks` looks; `samples` (n·perUnit, K) probabilities, K ≥ 2. */
export function isSteady(
  samples: readonly Float64Array[],
  perUnit: PerUnit,
  looks = looksFor(perUnit).length,
): boolean {
  const classes = samples[0]?.length ?? 0;
  const units = samples.length / perUnit;
  const quantile = studentQuantile(1 - RISK / (looks * (classes + 1)), units - 1);
  const halfWidth = (deviation: number) => (quantile * deviation) / Math.sqrt(units);
  const means = Array.from(
    { length: classes },
    (_, k) => moments(samples.map((p) => p[k] ?? 0)).mean,
  );
  const best = predictedClass(means);
  const ofBest = moments(unitMeans(samples, perUnit, (p) => p[best] ?? 0));
  if (halfWidth(ofBest.deviation) > TOLERANCE) return false;
  const gaussian = gaussianMoments(moments(samples.map((p) => logOdds(p, best))), perUnit);
  if (Math.abs(gaussian.mean - ofBest.mean) > TOLERANCE) return false;
  if (halfWidth(gaussian.deviation) > TOLERANCE) return false;
  return means.every((_, rival) => {
    if (rival === best) return true;
    const lead = moments(unitMeans(samples, perUnit, (p) => (p[best] ?? 0) - (p[rival] ?? 0)));
    const half = halfWidth(lead.deviation);
    return lead.mean > half || half <= TOLERANCE;
  });
}

interface Moments {
  readonly mean: number;
  /** The sample's standard deviation. */
  readonly deviation: number;
}

function moments(values: readonly number[]): Moments {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) ** 2;
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}

function unitMeans(
  samples: readonly Float64Array[],
  perUnit: PerUnit,
  value: (probs: Float64Array) => number,
): number[] {
  const values = samples.map(value);
  if (perUnit === 1) return values;
  const pairs: number[] = [];
  for (let at = 0; at < values.length; at += 2)
    pairs.push(((values[at] ?? 0) + (values[at + 1] ?? 0)) / 2);
  return pairs;
}

/** ln p(c) − ln(1 − p(c)); the rest is summed, as 1 − p(c) loses it near 1. */
function logOdds(probs: Float64Array, chosen: number): number {
  let rest = 0;
  for (let k = 0; k < probs.length; k += 1) if (k !== chosen) rest += probs[k] ?? 0;
  return (
    Math.log(Math.max(probs[chosen] ?? 0, Number.MIN_VALUE)) -
    Math.log(Math.max(rest, Number.MIN_VALUE))
  );
}

/** Of a unit's probability, by the trapezium rule over z in ±4. */
function gaussianMoments({ mean: middle, deviation }: Moments, perUnit: PerUnit): Moments {
  const logistic = (x: number) => 1 / (1 + Math.exp(-x));
  const scale = INFLATION * deviation;
  let [weights, sum, squares] = [0, 0, 0];
  for (let z = -4; z <= 4; z += 0.25) {
    const one = logistic(middle + scale * z);
    const unit = perUnit === 1 ? one : (one + logistic(middle - scale * z)) / 2;
    const weight = Math.exp(-0.5 * z * z);
    weights += weight;
    sum += weight * unit;
    squares += weight * unit * unit;
  }
  const mean = sum / weights;
  return { mean, deviation: Math.sqrt(Math.max(0, squares / weights - mean * mean)) };
}
