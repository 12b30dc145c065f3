import { expect, it } from 'vitest';
import { conformalSets } from '../../../ts/metrics/conformal.ts';
import { metricsReport } from '../../../ts/metrics/report.ts';

const row = (certainty: number, isRight: boolean) => ({
  ...{ probs: [certainty, 1 - certainty], u: 0.5 },
  label: isRight ? 0 : 1,
});
const many = (n: number, of: (index: number) => ReturnType<typeof row>) =>
  Array.from({ length: n }, (_, index) => of(index));

it('takes the ninth of nine scores at a risk of a tenth, and what equals it into the set', () => {
  const nine = many(9, () => row(0.75, true)); // s = 0.25
  expect(conformalSets(nine, [row(0.75, true)], { score: 'lac' })).toEqual({
    coverage: 1,
    size: 1,
  });
  expect(conformalSets(nine, [row(0.5, true)], { score: 'lac' })).toEqual({ coverage: 0, size: 0 });
  // Of eight the rank is beyond the last: every class.
  expect(conformalSets(nine.slice(1), [row(0.5, true)], { score: 'lac' })).toEqual({
    coverage: 1,
    size: 2,
  });
});

it('measures where a half has nine rows, and nowhere below', () => {
  const sizes = (n: number) => metricsReport(many(n, () => row(0.75, true))).metrics;
  expect(sizes(17)).toMatchObject({ conformalLacCoverage: null, conformalApsSize: null });
  expect(sizes(18)).toMatchObject({ conformalLacCoverage: 1, conformalLacSize: 1 });
});

it('calibrates on one half and measures on the other, of the rows in any order', () => {
  // Right answers first, then wrong ones: halves in this order would share nothing.
  const sorted = metricsReport(many(200, (index) => row(0.9, index < 100))).metrics;
  expect(sorted.conformalLacCoverage).toBeCloseTo(1, 12);
  // No two scores alike: a tenth of the other half lies beyond the ninth of nine, none of one's own
  // would.
  const unlike = metricsReport(many(18, (index) => row(0.55 + index / 50, true))).metrics;
  expect(unlike.conformalLacCoverage).toBeGreaterThan(0.85);
  expect(unlike.conformalLacCoverage).toBeLessThan(0.935);
});

it('draws the u of APS between 0 and 1', () => {
  // s of the only likely class is u, s of the other is 1: sets hold nothing but what is likely.
  const { conformalApsSize } = metricsReport(many(400, () => row(1, true))).metrics;
  expect(conformalApsSize).toBeGreaterThan(0.85);
  expect(conformalApsSize).toBeLessThan(0.95);
});
