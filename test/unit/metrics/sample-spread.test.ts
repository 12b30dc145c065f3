import { expect, it } from 'vitest';
import { SampleSpread } from '../../../ts/metrics/sample-spread.ts';

const logit = (p: number) => Math.log(p / (1 - p));

it('is the unbiased deviation over samples, averaged over rows and classes', () => {
  const spread = new SampleSpread();
  // Two prompts of two classes, three samples: p = 0.2, 0.5, 0.8 and 0.4, 0.4, 0.4.
  const sample = (first: number, second: number) => [logit(first), 0, logit(second), 0];
  const logits = Float32Array.from([...sample(0.2, 0.4), ...sample(0.5, 0.4), ...sample(0.8, 0.4)]);
  spread.add(logits, Uint32Array.of(0, 2, 4), 3);
  expect(spread.mean).toBeCloseTo((0.3 + 0.3 + 0 + 0) / 4, 6);
});

it('is unknown below two samples', () => {
  const spread = new SampleSpread();
  spread.add(Float32Array.of(1, 2), Uint32Array.of(0, 2), 1);
  expect(spread.mean).toBeNull();
});

it('has one of two samples', () => {
  const spread = new SampleSpread();
  spread.add(Float32Array.of(logit(0.4), 0, logit(0.6), 0), Uint32Array.of(0, 2), 2);
  expect(spread.mean).toBeCloseTo(0.2 / Math.SQRT2, 6);
});
