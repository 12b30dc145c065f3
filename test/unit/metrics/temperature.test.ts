import { expect, it } from 'vitest';
import { nll } from '../../../ts/metrics/nll.ts';
import { randomBelow } from '../../../ts/metrics/random.ts';
import { fittedTemperature, scaledProbs } from '../../../ts/metrics/temperature.ts';

it('finds the temperature whose confidence is the accuracy', () => {
  // p(T) of both answers is σ(logit(0.9) / T), and right in 3 of 4 rows: logit(0.9) / T =
  // logit(0.75).
  const rows = [0, 0, 0, 1].map((label) => ({ probs: [0.9, 0.1], label }));
  expect(fittedTemperature(rows)).toBeCloseTo(Math.log(9) / Math.log(3), 12);
  const timid = [0, 0, 0, 1].map((label) => ({ probs: [0.6, 0.4], label }));
  expect(fittedTemperature(timid)).toBeCloseTo(Math.log(1.5) / Math.log(3), 12);
});

it('ends where the NLL has its least value, over rows with different numbers of classes', () => {
  const below = randomBelow(7);
  const rows = Array.from({ length: 60 }, (_, row) => {
    const classes = 2 + (row % 4);
    const powers = Array.from({ length: classes }, () => Math.exp(below(1000) / 200));
    const sum = powers.reduce((total, power) => total + power, 0);
    return { probs: powers.map((power) => power / sum), label: below(classes) };
  });
  const found = fittedTemperature(rows);
  const at = (temperature: number) =>
    nll(rows.map(({ probs, label }) => ({ probs: scaledProbs(probs, temperature), label })));
  // The golden section of ln T, which knows nothing of derivatives.
  let [low, high] = [Math.log(0.01), Math.log(100)];
  const ratio = (Math.sqrt(5) - 1) / 2;
  while (high - low > 1e-9) {
    const [left, right] = [high - ratio * (high - low), low + ratio * (high - low)];
    if (at(Math.exp(left)) < at(Math.exp(right))) high = right;
    else low = left;
  }
  expect(found).toBeCloseTo(Math.exp((low + high) / 2), 5);
  expect(at(found)).toBeLessThan(at(1));
});

it('divides the logits of a single pass, and keeps the order of classes', () => {
  const logits = [2, -1, 0.5];
  const softmax = (scale: number) => {
    const powers = logits.map((logit) => Math.exp(logit * scale));
    const sum = powers.reduce((total, power) => total + power, 0);
    return powers.map((power) => power / sum);
  };
  const scaled = scaledProbs(softmax(1), 2);
  for (const [index, p] of softmax(1 / 2).entries()) expect(scaled[index]).toBeCloseTo(p, 14);
});

it.each([
  ['rows that are all answered rightly', [{ probs: [0.6, 0.4], label: 0 }], 0.01],
  ['rows that are all answered wrongly', [{ probs: [0.6, 0.4], label: 1 }], 100],
  ['a right class of probability 0', [{ probs: [1, 0], label: 1 }], 100],
  ['no rows', [], Number.NaN],
])('stays finite for %s', (_, rows, temperature) => {
  expect(fittedTemperature(rows)).toBe(temperature);
});
