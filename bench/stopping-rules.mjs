// Rules that `--samples auto` is compared with: what it did before, and one whose claim holds.

import { studentQuantile } from '../dist/metrics/student.js';

const TOLERANCE = 0.02;
const RISK = 0.05;
const MAX_SAMPLES = 256;

function deviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}

/**
 * By intervals of means alone: `halfWidth(deviation, range of the values, units, looks, classes)`.
 */
function byIntervals(halfWidth, first) {
  const looksFor = (perUnit) =>
    [8, 16, 32, 64, 128, 256].filter((n) => n >= first && n * perUnit <= MAX_SAMPLES);
  const isSteady = (samples, perUnit) => {
    const units = Array.from({ length: samples.length / perUnit }, (_, i) =>
      perUnit === 1 ? samples[i] : samples[2 * i].map((p, k) => (p + samples[2 * i + 1][k]) / 2),
    );
    const means = Array.from(
      units[0],
      (_, k) => units.reduce((sum, u) => sum + u[k], 0) / units.length,
    );
    const best = means.indexOf(Math.max(...means));
    const half = (value, range) =>
      halfWidth(
        deviation(units.map(value)),
        range,
        units.length,
        looksFor(perUnit).length,
        means.length,
      );
    if (half((u) => u[best], 1) > TOLERANCE) return false;
    return means.every((mean, rival) => {
      if (rival === best) return true;
      const width = half((u) => u[best] - u[rival], 2);
      return means[best] - mean > width || width <= TOLERANCE;
    });
  };
  return { looksFor, isSteady };
}

const quantiles = new Map();
function quantile(p, degrees) {
  const key = `${p}/${degrees}`;
  if (!quantiles.has(key)) quantiles.set(key, studentQuantile(p, degrees));
  return quantiles.get(key);
}

/**
 * Student's t on probabilities, Bonferroni over looks, both ends and rivals: until this release.
 */
export const student = byIntervals(
  (s, _range, n, looks, classes) =>
    (quantile(1 - RISK / (looks * (classes + 1)), n - 1) * s) / Math.sqrt(n),
  8,
);

/**
 * Empirical Bernstein (Maurer & Pontil 2009, arXiv 0907.3740, Theorem 4) for values of a range R:
 * s·√(2·ln(2/δ)/n) + 7·R·ln(2/δ)/(3·(n − 1)), δ = α/(2·L·K) over both ends, looks and classes.
 */
export const bernstein = byIntervals((s, range, n, looks, classes) => {
  const log = Math.log((2 * 2 * looks * classes) / RISK);
  return s * Math.sqrt((2 * log) / n) + (7 * range * log) / (3 * (n - 1));
}, 16);
