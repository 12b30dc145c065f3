import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { metricsReport } from '../../../ts/metrics/report.ts';
import { riskCoverage } from '../../../ts/metrics/risk-coverage.ts';

interface Case {
  readonly name: string;
  readonly probs: number[][];
  readonly labels: number[];
}

interface Theirs {
  readonly name: string;
  readonly aurc_trapezoid: number;
  readonly risk_at_80_coverage: number;
  readonly adaptive_ece: number;
  readonly classwise_ece: number;
  readonly error_fpr95_max_probability: number;
}

const fixture = (name: string) =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../../fixtures', name), 'utf8'));
const golden: { readonly bins: number; readonly cases: readonly Case[] } =
  fixture('uncertainty.json');
// Made by tools/goldens/torch_uncertainty_side.py. Its calibration errors are summed in f32.
const theirs: { readonly cases: readonly Theirs[] } = fixture('torch-uncertainty.json');

it.each(theirs.cases)('agrees with torch-uncertainty: $name', (expected) => {
  const { probs = [], labels = [] } =
    golden.cases.find(({ name }) => name === expected.name) ?? ({} as Partial<Case>);
  const rows = probs.map((row, index) => ({ probs: row, label: labels[index] ?? -1 }));
  expect(rows.length).toBeGreaterThan(50);
  const { metrics } = metricsReport(rows, { bins: golden.bins });
  expect(metrics.adaptiveEce).toBeCloseTo(expected.adaptive_ece, 6);
  expect(metrics.classwiseEce).toBeCloseTo(expected.classwise_ece, 6);
  expect(1 - (metrics.selectiveAccuracy80 ?? Number.NaN)).toBeCloseTo(
    expected.risk_at_80_coverage,
    12,
  );
  expect(metrics.errorFpr95MaxProbability).toBeCloseTo(expected.error_fpr95_max_probability, 12);
  // Their area leaves out half of both ends.
  const ends = [riskCoverage(rows)[0], riskCoverage(rows).at(-1)];
  const half = ends.reduce((sum, point) => sum + (point?.risk ?? Number.NaN) / 2, 0);
  const area = ((metrics.aurc ?? Number.NaN) * rows.length - half) / (rows.length - 1);
  expect(area).toBeCloseTo(expected.aurc_trapezoid, 12);
});
