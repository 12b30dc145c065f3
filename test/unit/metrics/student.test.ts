import { expect, it } from 'vitest';
import { studentCdf, studentQuantile } from '../../../ts/metrics/student.ts';

it.each([
  // Printed tables (two decimals more than they print): p, ν, t.
  [0.975, 1, 12.7062],
  [0.975, 2, 4.30265],
  [0.975, 3, 3.18245],
  [0.975, 4, 2.77645],
  [0.95, 7, 1.89458],
  [0.975, 10, 2.22814],
  [0.99, 15, 2.60248],
  [0.975, 30, 2.04227],
  [0.995, 63, 2.65615],
  [0.975, 255, 1.96931],
])('has the quantiles of the tables: p %d, %d degrees of freedom', (p, degrees, t) => {
  expect(studentQuantile(p, degrees)).toBeCloseTo(t, 4);
  expect(studentCdf(t, degrees)).toBeCloseTo(p, 5);
});

it('is a distribution', () => {
  expect(studentCdf(0, 7)).toBe(0.5);
  expect(studentCdf(1e6, 7)).toBeCloseTo(1, 12);
});
