import { expect, it } from 'vitest';
import { interval, spread } from '../../cmd/statistics.mjs';

it("gives intervals of differences by Student's t, also of many seeds", () => {
  // 12 values 1 … 12: mean 6.5, s² = 13, t(11) = 2.20099: 6.5 ± 2.20099·√(13/12) = 6.5 ± 2.2908
  const values = Array.from({ length: 12 }, (_, index) => index + 1);
  expect(interval(values)).toBe('+6.500 (+4.209 to +8.791)');
  expect(interval([1, 2, 3])).toBe('+2.000 (−0.484 to +4.484)');
  expect(interval([0.5])).toBe('+0.500');
});

it('gives means with standard deviations', () => {
  expect(spread([1, 2, 3])).toBe('2.000 ± 1.000');
});
