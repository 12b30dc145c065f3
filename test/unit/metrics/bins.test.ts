import { expect, it } from 'vitest';
import { debiasedEce } from '../../../ts/metrics/debiased-ece.ts';
import { binOf, ece } from '../../../ts/metrics/ece.ts';

const row = (certainty: number, isRight: boolean) => ({
  probs: [certainty, 1 - certainty],
  label: isRight ? 0 : 1,
});

/** The number next to a positive one on the left. */
function before(value: number): number {
  const bits = new BigUint64Array(Float64Array.of(value).buffer);
  bits[0] = (bits[0] ?? 0n) - 1n;
  return new Float64Array(bits.buffer)[0] ?? Number.NaN;
}

it('closes every bin on the left, however its edge is rounded', () => {
  for (let bins = 1; bins <= 60; bins += 1) {
    for (let bin = 1; bin <= bins; bin += 1) {
      expect([bins, binOf(bin / bins, bins)]).toEqual([bins, bin]);
      expect([bins, binOf(before(bin / bins), bins)]).toEqual([bins, bin - 1]);
    }
    expect(binOf(0, bins)).toBe(0);
  }
});

it('knows no calibration of no rows', () => {
  expect(ece([])).toBeNaN();
  expect(debiasedEce([], 15)).toBeNaN();
});

it('takes what chance adds from bins of two rows or more, and leaves out those of one', () => {
  const pair = [row(0.81, true), row(0.83, false)]; // (0.5 − 0.82)², of which chance is 0.25
  expect(debiasedEce([...pair, row(0.6, true)], 10)).toBe(0);
  const sure = [row(0.91, false), row(0.95, false)]; // 0.93², of which chance is none
  expect(debiasedEce([...sure, row(0.6, true)], 10)).toBeCloseTo(
    Math.sqrt((2 / 3) * 0.93 ** 2),
    12,
  );
});
