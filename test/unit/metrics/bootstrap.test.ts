import { expect, it } from 'vitest';
import { bootstrap } from '../../../ts/metrics/bootstrap.ts';
import { randomBelow } from '../../../ts/metrics/random.ts';

it('draws without bias: each of seven numbers about as often', () => {
  const below = randomBelow(3);
  const counts = new Array<number>(7).fill(0);
  const draws = 70_000;
  for (let index = 0; index < draws; index += 1) {
    const value = below(7);
    counts[value] = (counts[value] ?? 0) + 1;
  }
  // Each count has a standard deviation of 93; five of them.
  for (const count of counts) expect(Math.abs(count - draws / 7)).toBeLessThan(465);
});

it('repeats with its seed and differs with another', () => {
  const draws = (seed: number) => {
    const below = randomBelow(seed);
    return Array.from({ length: 8 }, () => below(1000));
  };
  expect(draws(1)).toEqual(draws(1));
  expect(draws(1)).not.toEqual(draws(2));
});

it('follows the published generator from its state on', () => {
  // The state that seed 0 gives, stepped by hand with the published xoshiro128** update.
  const draws = randomBelow(0);
  const first = Array.from({ length: 4 }, () => draws(2 ** 32));
  let z = 0;
  const split = () => {
    z = (z + 0x9e3779b9) >>> 0;
    let t = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    t = Math.imul(t ^ (t >>> 15), 0x735a2d97);
    return (t ^ (t >>> 15)) >>> 0;
  };
  const s = [split(), split(), split(), split()] as [number, number, number, number];
  const rotl = (x: number, k: number) => ((x << k) | (x >>> (32 - k))) >>> 0;
  const expected = Array.from({ length: 4 }, () => {
    const result = Math.imul(rotl(Math.imul(s[1], 5) >>> 0, 7), 9) >>> 0;
    const t = (s[1] << 9) >>> 0;
    s[2] = (s[2] ^ s[0]) >>> 0;
    s[3] = (s[3] ^ s[1]) >>> 0;
    s[1] = (s[1] ^ s[2]) >>> 0;
    s[0] = (s[0] ^ s[3]) >>> 0;
    s[2] = (s[2] ^ t) >>> 0;
    s[3] = rotl(s[3], 11);
    return result;
  });
  expect(first).toEqual(expected);
});

it('gives the mean of normal rows an interval of ±1.96 standard errors', () => {
  const below = randomBelow(11);
  const uniform = () => (below(2 ** 31) + 0.5) / 2 ** 31;
  const rows = Array.from(
    { length: 400 },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
  const mean = (numbers: ArrayLike<number>) =>
    Array.from(numbers).reduce((sum, row) => sum + (rows[row] ?? 0), 0) / numbers.length;
  const { mean: interval } = bootstrap([400], ([draw]) => ({ mean: mean(draw ?? []) }), {
    resamples: 4000,
  });
  const center = rows.reduce((sum, row) => sum + row, 0) / 400;
  const error = Math.sqrt(rows.reduce((sum, row) => sum + (row - center) ** 2, 0)) / 400;
  expect(interval.value).toBeCloseTo(center, 12);
  // 4,000 resamples know the ends to about 3 % of the standard error.
  expect((interval.lower - center) / error).toBeCloseTo(-1.96, 0);
  expect(Math.abs((interval.lower - center) / error + 1.96)).toBeLessThan(0.15);
  expect(Math.abs((interval.upper - center) / error - 1.96)).toBeLessThan(0.15);
});

it('pairs the statistics of one call: a constant difference has no width', () => {
  const { difference } = bootstrap([50], ([draw]) => {
    const sum = (draw ?? new Uint32Array()).reduce((total, row) => total + row, 0);
    return { first: sum, difference: sum + 3 - sum };
  });
  expect(difference).toEqual({ value: 3, lower: 3, upper: 3 });
});

it('resamples groups apart, each with its own size', () => {
  const sizes: number[][] = [];
  bootstrap([3, 5], (draw) => {
    sizes.push(draw.map(({ length }) => length));
    expect(Math.max(...(draw[0] ?? []))).toBeLessThan(3);
    return {};
  });
  expect(new Set(sizes.map(String))).toEqual(new Set(['3,5']));
});

it('interpolates between the resamples, and asks for no more of them than it needs', () => {
  let calls = 0;
  const counting = () => ({ calls: calls++ });
  // Of the rows themselves 0, of the resamples 1, 2 and 3.
  expect(bootstrap([1], counting, { resamples: 3, level: 0.5 }).calls).toEqual({
    value: 0,
    lower: 1.5,
    upper: 2.5,
  });
  expect(calls).toBe(4);
  const none = bootstrap([1], counting, { resamples: 0 }).calls;
  expect([none.lower, none.upper]).toEqual([Number.NaN, Number.NaN]);
});

it('keeps an end that is infinite', () => {
  const { all } = bootstrap([4], () => ({ all: Number.POSITIVE_INFINITY }), { resamples: 5 });
  expect(all).toEqual({ value: Infinity, lower: Infinity, upper: Infinity });
});

it('draws without bias below a bound that does not divide the range', () => {
  const below = randomBelow(9);
  const bound = 3 * 2 ** 30;
  const draws = Array.from({ length: 3000 }, () => below(bound));
  // A remainder would give the first third twice its share.
  const first = draws.filter((value) => value < bound / 3).length / draws.length;
  expect(Math.abs(first - 1 / 3)).toBeLessThan(5 * Math.sqrt(2 / 9 / draws.length));
});
