import { expect, it } from 'vitest';
import type { EncodedExample } from '../../../ts/datasets/encode.ts';
import type { RaggedBatch } from '../../../ts/datasets/ragged-batch.ts';
import type { Adapter, PredictiveOptions } from '../../../ts/model.ts';
import { predictAdaptively, settled } from '../../../ts/run/adaptive.ts';

/** Two classes whose first one has these probabilities. */
const rows = (first: readonly number[]) => first.map((p) => Float64Array.of(p, 1 - p));
/** n values around `middle` with the sample standard deviation `std`. */
const spread = (middle: number, std: number, n: number) =>
  Array.from({ length: n }, (_, i) => middle + (i % 2 === 0 ? 1 : -1) * std * Math.sqrt((n - 1) / n));

it('settles where the half-width t·s/√n is at most 0.02, and not before', () => {
  const n = 16;
  const quantile = 3.0363;
  const limit = (0.02 * Math.sqrt(n)) / quantile;
  expect(settled(rows(spread(0.8, 0.99 * limit, n)), quantile)).toBe(true);
  expect(settled(rows(spread(0.8, 1.01 * limit, n)), quantile)).toBe(false);
});

it('goes on while the two best classes may change places, unless they are within 0.02 of each other', () => {
  const n = 16;
  const quantile = 3.0363;
  const std = (0.015 * Math.sqrt(n)) / quantile; // the lead's half-width is twice that of p: 0.03
  expect(settled(rows(spread(0.51, std, n)), quantile)).toBe(false); // lead 0.02
  expect(settled(rows(spread(0.54, std, n)), quantile)).toBe(true); // lead 0.08
  expect(settled(rows(spread(0.501, std / 2, n)), quantile)).toBe(true); // half-width of the lead 0.015
});

it('does not mistake samples that hardly differ for a decision about the wrong class', () => {
  const three = Array.from({ length: 8 }, () => Float64Array.of(0.2, 0.5, 0.3));
  expect(settled(three, 3.6358)).toBe(true);
});

/** A stream of standard normals (Box–Muller over a small generator), the same for every run. */
function normals(seed: number): () => number {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

const logistic = (x: number) => 1 / (1 + Math.exp(-x));

it.each([
  ['plain', 0.5, 0.2],
  ['plain', 0.3, 0.4],
  ['antithetic', 0.5, 0.4],
  ['antithetic', 1, 1],
] as const)('keeps its bound where the answer is known: %s, logit %d ± %d', async (sampling, a, b) => {
  // Two classes with logits (a + b·z, 0), z normal: p is the mean of a logistic function, by the trapezium rule.
  let truth = 0;
  for (let z = -8; z <= 8; z += 0.001) {
    truth += (0.001 * logistic(a + b * z) * Math.exp(-0.5 * z * z)) / Math.sqrt(2 * Math.PI);
  }
  const next = normals(7);
  const predict = async (batch: RaggedBatch, { samples, antithetic }: PredictiveOptions) => {
    const rows = batch.answerOffsets.length - 1;
    const logits = new Float32Array(samples * rows * 2);
    for (let row = 0; row < rows; row += 1) {
      let z = 0;
      for (let sample = 0; sample < samples; sample += 1) {
        z = antithetic === true && sample % 2 === 1 ? -z : next();
        logits[(sample * rows + row) * 2] = a + b * z;
      }
    }
    return logits;
  };
  const example = { row: 0, id: null, label: 0, ids: [1], answers: [2, 3] } as unknown as EncodedExample;
  const examples = Array.from({ length: 400 }, () => example);
  const settings = { noise: 'token', sampling, seed: 1, stochasticLayers: null } as const;
  const found = await predictAdaptively({ predict } as unknown as Adapter, examples, settings, undefined);
  const done = found.filter(({ isSettled }) => isSettled);
  expect(done.length).toBeGreaterThan(350);
  const wrong = done.filter(({ probs: [p = 0] }) => Math.abs(Math.max(p, 1 - p) - truth) > 0.02);
  expect(wrong.length / done.length).toBeLessThan(0.05);
  expect(Math.max(...found.map(({ samples }) => samples))).toBeGreaterThan(8);
});
