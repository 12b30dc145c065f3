import { describe, expect, it } from 'vitest';
import { median, medianInterval, ratios } from '../../bench/statistics.mjs';

/** 1…n in an order that is not theirs. */
const shuffled = (n: number) => Array.from({ length: n }, (_, i) => ((i * 7) % n) + 1);

describe('median', () => {
  it('is the middle value, or the mean of the two', () => {
    expect(median([10, 9, 2])).toBe(9);
    expect(median([10, 9, 2, 1])).toBe(5.5);
  });
});

describe('medianInterval', () => {
  // Ranks of Conover's table for 95 %; coverage = 1 − 2 P(Binomial(n, 1/2) < k).
  it.each([
    [6, 1, 1 - 2 / 64],
    [8, 1, 1 - 2 / 256],
    [9, 2, 1 - (2 * 10) / 512],
    [20, 6, 1 - (2 * 21_700) / 1_048_576],
  ])('of %i values starts at the one of rank %i', (n, rank, coverage) => {
    const { low, high, coverage: found } = medianInterval(shuffled(n));
    expect([low, high]).toEqual([rank, n + 1 - rank]);
    expect(found).toBeCloseTo(coverage, 12);
  });

  it('is the whole range of few values, with the coverage that it has', () => {
    expect(medianInterval([3, 1, 2])).toEqual({ low: 1, high: 3, coverage: 0.75 });
    expect(medianInterval([4])).toEqual({ low: 4, high: 4, coverage: 0 });
  });

  it('is wider for more confidence', () => {
    expect(medianInterval(shuffled(20), 0.99).low).toBe(4);
  });

  it('is not moved by one wild value', () => {
    expect(medianInterval([...shuffled(20).filter((x) => x !== 20), 1e9]).high).toBe(15);
  });
});

describe('ratios', () => {
  it('are above 1 where AFTER has more', () => {
    const pairs = [{ before: { seconds: 2, peak: 8 }, after: { seconds: 3, peak: 4 } }];
    expect(ratios(pairs, 'seconds')).toEqual([1.5]);
    expect(ratios(pairs, 'peak')).toEqual([0.5]);
  });
});
