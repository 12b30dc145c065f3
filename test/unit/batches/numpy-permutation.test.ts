import { expect, it } from 'vitest';
import { numpyPermutation } from '../../../ts/batches/numpy-permutation.ts';

// numpy.random.default_rng(42).permutation(n)[:8], of numpy itself, at the sizes of the reference's
// training sets.
it.each([
  [640, [584, 235, 393, 230, 289, 252, 147, 51]],
  [1119, [236, 874, 142, 684, 885, 83, 133, 1036]],
  [2251, [1577, 47, 1314, 83, 1575, 713, 873, 607]],
  [2558, [1352, 1388, 157, 2212, 2419, 1325, 696, 1882]],
  [4957, [4479, 4306, 1286, 3430, 1868, 617, 865, 2340]],
  [9427, [3429, 4320, 3143, 6524, 4216, 4457, 3280, 7841]],
])("orders %d rows as numpy's generator of seed 42 does", (length, first) => {
  const order = numpyPermutation(length, 42);
  expect([...order.slice(0, 8)]).toEqual(first);
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, index) => index));
});
