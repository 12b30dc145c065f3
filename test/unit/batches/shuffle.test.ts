import { expect, it } from 'vitest';
import { permutation } from '../../../ts/batches/shuffle.ts';

it('is a pure function of seed and epoch, pinned by values of an independent implementation', () => {
  expect([...permutation(10, 1, 0)]).toEqual([6, 7, 1, 8, 0, 2, 4, 9, 5, 3]);
  expect([...permutation(10, 1, 1)]).toEqual([3, 8, 6, 2, 1, 4, 0, 9, 7, 5]);
  expect([...permutation(10, 2, 0)]).toEqual([3, 7, 9, 4, 5, 1, 2, 0, 8, 6]);
  expect([...permutation(2251, 1, 0).subarray(0, 8)]).toEqual([
    2101, 490, 2125, 188, 1419, 821, 704, 1369,
  ]);
});

it('visits every example once', () => {
  for (const length of [0, 1, 2, 17, 1000]) {
    const sorted = permutation(length, 3, 5).toSorted();
    expect([...sorted]).toEqual(Array.from({ length }, (_, index) => index));
  }
});

it('favours no order: the 24 orders of four are equally frequent', () => {
  const draws = 24_000;
  const counts = new Map<string, number>();
  for (let epoch = 0; epoch < draws; epoch += 1) {
    const order = permutation(4, 7, epoch).join('');
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  expect(counts.size).toBe(24);
  const chiSquare = [...counts.values()].reduce(
    (sum, count) => sum + (count - 1000) ** 2 / 1000,
    0,
  );
  expect(chiSquare).toBeLessThan(49.7); // 99.9 % quantile of χ²(23)
});
