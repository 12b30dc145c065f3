import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { adaptiveEce } from '../../../ts/metrics/adaptive-ece.ts';
import { classwiseEce } from '../../../ts/metrics/classwise-ece.ts';
import { type ConformalScore, conformalSets } from '../../../ts/metrics/conformal.ts';
import { debiasedEce } from '../../../ts/metrics/debiased-ece.ts';
import { detection } from '../../../ts/metrics/detection.ts';
import { ece } from '../../../ts/metrics/ece.ts';
import { fpr95 } from '../../../ts/metrics/fpr95.ts';
import { eceNoiseFloor } from '../../../ts/metrics/noise-floor.ts';
import { randomBelow } from '../../../ts/metrics/random.ts';
import { metricsReport } from '../../../ts/metrics/report.ts';
import { excessAurc, riskCoverage, selectiveAccuracy } from '../../../ts/metrics/risk-coverage.ts';
import { camelCase, snakeCase } from '../../../ts/names.ts';

interface Golden {
  bins: number;
  cases: {
    name: string;
    probs: number[][];
    labels: number[];
    mutual_information: number[];
    u: number[];
    metrics: Record<string, number>;
    conformal: { kind: ConformalScore; alpha: number; coverage: number; size: number }[];
  }[];
  detection: Record<string, { auroc: number; fpr95: number }>;
}

// Made by tools/goldens/uncertainty.py: scikit-learn, scipy and numpy.
const golden: Golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../fixtures/uncertainty.json'), 'utf8'),
);

function rowsOf({ probs, labels, mutual_information, u }: Golden['cases'][number]) {
  return probs.map((row, index) => ({
    probs: row,
    label: labels[index] ?? -1,
    mutualInformation: mutual_information[index] ?? null,
    u: u[index] ?? 0,
  }));
}

it.each(golden.cases)('agrees with scikit-learn, scipy and numpy: $name', (one) => {
  const { metrics } = metricsReport(rowsOf(one), { bins: golden.bins });
  expect(Object.keys(one.metrics)).toHaveLength(16);
  for (const [id, value] of Object.entries(one.metrics)) {
    expect(metrics[camelCase(id) as keyof typeof metrics], id).toBeCloseTo(value, 10);
  }
});

it.each(golden.cases)('agrees with numpy on conformal sets: $name', (one) => {
  const rows = rowsOf(one);
  const half = Math.floor(rows.length / 2);
  for (const { kind, alpha, coverage, size } of one.conformal) {
    const sets = conformalSets(rows.slice(0, half), rows.slice(half), { score: kind, risk: alpha });
    expect([kind, alpha, sets.coverage, sets.size]).toEqual([
      ...[kind, alpha],
      expect.closeTo(coverage, 12),
      expect.closeTo(size, 12),
    ]);
  }
});

it('agrees with scikit-learn on telling rows of another kind', () => {
  const [inside, , outside] = golden.cases.map(rowsOf);
  const found = detection({ dataset: 'a', split: 'test' }, inside ?? [], outside ?? []);
  for (const score of ['maxProbability', 'entropy', 'mutualInformation'] as const) {
    expect(found.auroc[score]).toBeCloseTo(golden.detection[snakeCase(score)]?.auroc ?? -1, 12);
    expect(found.fpr95[score]).toBeCloseTo(golden.detection[snakeCase(score)]?.fpr95 ?? -1, 12);
  }
});

const row = (certainty: number, isRight: boolean) => ({
  probs: [certainty, 1 - certainty],
  label: isRight ? 0 : 1,
});

it('has the noise floor of one row, of two, and of many in a bin', () => {
  // One row: |1 − c| with probability c, |0 − c| with 1 − c.
  expect(eceNoiseFloor([row(0.7, false)])).toBeCloseTo(2 * 0.7 * 0.3, 12);
  // Two rows: 0, 1 or 2 right of 1.4 expected.
  const two = 0.09 * 1.4 + 0.42 * 0.4 + 0.49 * 0.6;
  expect(eceNoiseFloor([row(0.7, true), row(0.7, true)])).toBeCloseTo(two / 2, 12);
  const many = Array.from({ length: 1000 }, () => row(0.7, true));
  expect(eceNoiseFloor(many)).toBeCloseTo(Math.sqrt((2 * 0.21) / (Math.PI * 1000)), 6);
});

it('has a noise floor that continues where the normal law takes over', () => {
  // Variance of n rows at 0.8: 0.16 n, which passes 25 at n = 157; the floor falls as 1/sqrt(n).
  const floor = (n: number) => eceNoiseFloor(Array.from({ length: n }, () => row(0.8, true)));
  expect(floor(157) / floor(156)).toBeCloseTo(Math.sqrt(156 / 157), 2);
  expect(Math.abs(floor(157) / floor(156) / Math.sqrt(156 / 157) - 1)).toBeLessThan(0.005);
});

it('is near the noise floor where a model is calibrated, and far from it where it is not', () => {
  const below = randomBelow(5);
  const chance = () => below(1e6) / 1e6;
  const certainties = Array.from({ length: 4000 }, () => 0.5 + chance() / 2);
  const calibrated = certainties.map((c) => row(c, chance() < c));
  const floor = eceNoiseFloor(calibrated);
  expect(Math.abs(ece(calibrated) - floor)).toBeLessThan(floor / 2);
  expect(debiasedEce(calibrated, 15)).toBeLessThan(0.02);
  const sure = certainties.map((c) => row(c, chance() < c - 0.1));
  expect(ece(sure)).toBeGreaterThan(5 * floor);
  expect(debiasedEce(sure, 15)).toBeCloseTo(0.1, 1);
});

it('has no measure of nothing', () => {
  const { metrics } = metricsReport([row(0.7, true)]);
  expect(metrics.errorAurocEntropy).toBeNull(); // no wrong answer
  expect(metrics.conformalLacSize).toBeNull(); // nothing to calibrate on
  expect(metricsReport([]).metrics.adaptiveEce).toBeNull();
});

it('groups as many rows together as their number allows', () => {
  // Five rows in three groups: 2, 2, 1.
  const rows = [row(0.9, true), row(0.6, false), row(0.7, true), row(0.8, false), row(0.65, true)];
  const gaps = Math.abs(1 - 0.6 - 0.65) + Math.abs(1 - 0.7 - 0.8) + Math.abs(1 - 0.9);
  expect(adaptiveEce(rows, 3)).toBeCloseTo(gaps / 5, 12);
});

it('averages classes over the rows where they compete', () => {
  const rows = [
    { probs: [0.5, 0.5], label: 0 },
    { probs: [0.2, 0.2, 0.6], label: 2 },
  ];
  const first = (0.5 + 0.2) / 2;
  const second = (0.5 + 0.2) / 2;
  expect(classwiseEce(rows, 15)).toBeCloseTo((first + second + 0.4) / 3, 12);
});

it('flags equal scores together', () => {
  expect(fpr95([1, 2, 3, 3], [3, 3, 4])).toBe(0.5);
  expect(fpr95([1, 2], [3])).toBe(0);
  expect(fpr95([], [3])).toBeNaN();
  expect(fpr95([3], [])).toBeNaN();
});

it('is at its best where every right answer is surer than every wrong one', () => {
  const best = [row(0.9, true), row(0.8, true), row(0.7, false)];
  expect(excessAurc(best)).toBe(0);
  expect(excessAurc([row(0.9, false), row(0.8, true), row(0.7, true)])).toBeCloseTo(
    (1 + 1 / 2 + 1 / 3) / 3 - 1 / 3 / 3,
    12,
  );
  expect(selectiveAccuracy(riskCoverage(best), 0.5)).toBe(1);
  expect(selectiveAccuracy(riskCoverage(best), 0.9)).toBeCloseTo(2 / 3, 12);
});

it('covers nine rows of ten on halves of the rows, by as few classes as the model allows', () => {
  const [sharp] = golden.cases.map(rowsOf);
  const { metrics } = metricsReport(sharp ?? []);
  for (const score of ['Lac', 'Aps'] as const) {
    // Guaranteed on average: 0.9 ≤ coverage ≤ 0.9 + 1/61; halves share rows, hence the 0.03.
    expect(metrics[`conformal${score}Coverage`]).toBeGreaterThan(0.87);
    expect(metrics[`conformal${score}Coverage`]).toBeLessThan(0.95);
    expect(metrics[`conformal${score}Size`]).toBeLessThan(4);
  }
});
