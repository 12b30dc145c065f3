import { expect, it } from 'vitest';
import { auroc } from '../../../ts/metrics/auroc.ts';
import { randomBelow } from '../../../ts/metrics/random.ts';

it('is 1 where every foreign row scores higher, 0 where every one scores lower', () => {
  expect(auroc([0.1, 0.2], [0.3, 0.4, 0.5])).toBe(1);
  expect(auroc([0.3, 0.4, 0.5], [0.1, 0.2])).toBe(0);
});

it('counts ties half', () => {
  expect(auroc([1, 1], [1, 1])).toBe(0.5);
  // Pairs: 2 > 1, 2 = 2, 3 > 1, 3 > 2.
  expect(auroc([1, 2], [2, 3])).toBe(3.5 / 4);
});

it('agrees with counting all pairs', () => {
  const below = randomBelow(5);
  const inside = Array.from({ length: 57 }, () => below(20));
  const outside = Array.from({ length: 83 }, () => below(25));
  let wins = 0;
  for (const one of outside) {
    for (const other of inside) wins += one > other ? 1 : one === other ? 0.5 : 0;
  }
  expect(auroc(inside, outside)).toBeCloseTo(wins / (57 * 83), 12);
});
