import { expect, it } from 'vitest';
import { settled } from '../../../ts/run/adaptive.ts';

/** Two classes whose first one has these probabilities. */
const rows = (first: readonly number[]) => first.map((p) => Float64Array.of(p, 1 - p));
/** n values around `middle` with the sample standard deviation `std`. */
const spread = (middle: number, std: number, n: number) =>
  Array.from({ length: n }, (_, i) => middle + (i % 2 === 0 ? 1 : -1) * std * Math.sqrt((n - 1) / n));

it('settles where the half-width t·s/√n is at most 0.02, and not before', () => {
  const n = 16;
  const quantile = 2.8366;
  const limit = (0.02 * Math.sqrt(n)) / quantile;
  expect(settled(rows(spread(0.8, 0.99 * limit, n)), quantile)).toBe(true);
  expect(settled(rows(spread(0.8, 1.01 * limit, n)), quantile)).toBe(false);
});

it('goes on while the two best classes may change places, unless they are within 0.02 of each other', () => {
  const n = 16;
  const quantile = 2.8366;
  const std = (0.015 * Math.sqrt(n)) / quantile; // the lead's half-width is twice that of p: 0.03
  expect(settled(rows(spread(0.51, std, n)), quantile)).toBe(false); // lead 0.02
  expect(settled(rows(spread(0.54, std, n)), quantile)).toBe(true); // lead 0.08
  expect(settled(rows(spread(0.501, std / 2, n)), quantile)).toBe(true); // half-width of the lead 0.015
});

it('does not mistake samples that hardly differ for a decision about the wrong class', () => {
  const three = Array.from({ length: 8 }, () => Float64Array.of(0.2, 0.5, 0.3));
  expect(settled(three, 3.3353)).toBe(true);
});
