import { expect, it } from 'vitest';
import {
  bestPrecision,
  isLearntByHeart,
  LAPLACE,
  PRECISIONS,
} from '../../../ts/methods/laplace.ts';
import { predictiveRule, usualMethod } from '../../../ts/methods/registry.ts';

it('chooses the precision of smallest NLL, and says where it is an end of the range', () => {
  expect(PRECISIONS.length).toBe(81);
  expect([0, 1, 32, 80].map((at) => PRECISIONS[at])).toEqual([1e-4, 1.33352e-4, 1, 1e6]);
  const at = (best: number) => Float64Array.from(PRECISIONS, (_, index) => Math.abs(index - best));
  expect(bestPrecision(at(40))).toEqual({ precision: 10, isEnd: false });
  expect(bestPrecision(at(0))).toEqual({ precision: PRECISIONS[0], isEnd: true });
  expect(bestPrecision(at(80))).toEqual({ precision: 1e6, isEnd: true });
});

it('distrusts the evidence of rows that are known by heart', () => {
  expect(isLearntByHeart({ nll: 5.3, rows: 300 })).toBe(true);
  expect(isLearntByHeart({ nll: 60, rows: 300 })).toBe(false);
});

it('answers in closed form unless asked otherwise', () => {
  const adapter = {} as Parameters<typeof predictiveRule>[1];
  const asked = { protocol: 'corrected', noise: 'token' } as const;
  expect(predictiveRule(LAPLACE.id, adapter, asked).link).toBe('probit');
  expect(predictiveRule(LAPLACE.id, adapter, { ...asked, link: 'sample' }).link).toBe('sample');
  expect(predictiveRule('blob', adapter, { ...asked, link: 'bridge' }).link).toBeUndefined();
});

it('tells an adapter without a record by its curvature', () => {
  const adapter = { bayesian: true, members: 1, over: null };
  expect(usualMethod({ ...adapter, priorPrecision: 2 })).toBe('laplace');
  const gaussian = { ...adapter, priorPrecision: null } as const;
  expect(usualMethod({ ...gaussian, over: 'a' })).toBe('blob');
  expect(usualMethod({ ...gaussian, over: 'a-and-b' })).toBe('bbb');
  expect(usualMethod({ ...gaussian, over: 'scales' })).toBe('scalabl');
  expect(usualMethod({ ...gaussian, over: 'context' })).toBe('c-lora');
});
