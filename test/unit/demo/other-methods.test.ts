import { expect, it } from 'vitest';
import { otherMethods } from '../../../ts/demo/other-methods.ts';

it('names each other method once on each split, by its answers as they came', () => {
  const others = otherMethods(['test', 'shift'], ['mle', 'blob']);
  const places = others.map(({ method, split }) => `${method} ${split}`);
  expect(new Set(places).size).toBe(places.length);
  const methods = new Set(others.map(({ method }) => method));
  expect([...methods]).toEqual(expect.arrayContaining(['ensemble', 'tfb', 'laplace']));
  expect(methods).not.toContain('mle');
  expect(methods).not.toContain('blob');
  for (const { method, samples, metrics } of others) {
    // A method with samples answers by them, not by its mean.
    expect(samples > 0).toBe(!['map'].includes(method));
    expect(metrics.acc).toBeGreaterThan(0.2);
    expect(metrics.nll).toBeLessThan(3);
  }
});
