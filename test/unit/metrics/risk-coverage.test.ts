import { expect, it } from 'vitest';
import { aurc, riskCoverage, selectiveAccuracy } from '../../../ts/metrics/risk-coverage.ts';

const row = (certainty: number, isRight: boolean) => ({
  probs: [certainty, 1 - certainty],
  label: isRight ? 0 : 1,
});

it('orders rows by confidence and counts the errors among the surest', () => {
  const points = riskCoverage([row(0.6, false), row(0.9, true), row(0.8, false), row(0.7, true)]);
  expect(points).toEqual([
    { coverage: 0.25, risk: 0 },
    { coverage: 0.5, risk: 0.5 },
    { coverage: 0.75, risk: 1 / 3 },
    { coverage: 1, risk: 0.5 },
  ]);
  expect(aurc(points)).toBeCloseTo((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4, 12);
});

it('shares the errors of rows that are equally sure, whatever their order', () => {
  const rows = [row(0.9, true), row(0.7, false), row(0.7, true)];
  const risks = riskCoverage(rows).map(({ risk }) => risk);
  expect(risks).toEqual([0, 0.25, 1 / 3]);
  expect(riskCoverage([...rows].reverse()).map(({ risk }) => risk)).toEqual(risks);
});

it('knows no accuracy of no rows', () => {
  expect(selectiveAccuracy([], 0.5)).toBeNaN();
});
