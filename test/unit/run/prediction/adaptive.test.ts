import { expect, it } from 'vitest';
import type { RaggedBatch } from '../../../../ts/batches/ragged-batch.ts';
import type { EncodedExample } from '../../../../ts/datasets/tokens/encode.ts';
import type { Adapter, PredictiveOptions } from '../../../../ts/engine/model.ts';
import { predictAdaptively } from '../../../../ts/run/prediction/adaptive.ts';

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
  ['antithetic', 0.05, 0.3],
  ['plain', 0.12, 0.1],
] as const)('keeps its bound where the answer is known: %s, logit %d ± %d', async (sampling, a, b) => {
  // Two classes with logits (a + b·z, 0), z normal: p is the mean of a logistic function, by the trapezium rule.
  let truth = 0;
  for (let z = -8; z <= 8; z += 0.001) {
    truth += (0.001 * logistic(a + b * z) * Math.exp(-0.5 * z * z)) / Math.sqrt(2 * Math.PI);
  }
  const next = normals(7);
  const predict = async (batch: RaggedBatch, { samples, sampling: asked }: PredictiveOptions) => {
    const rows = batch.answerOffsets.length - 1;
    const logits = new Float32Array(samples * rows * 2);
    for (let row = 0; row < rows; row += 1) {
      let z = 0;
      for (let sample = 0; sample < samples; sample += 1) {
        z = asked === 'antithetic' && sample % 2 === 1 ? -z : next();
        logits[(sample * rows + row) * 2] = a + b * z;
      }
    }
    return logits;
  };
  const example = { row: 0, id: null, label: 0, ids: [1], answers: [2, 3] } as unknown as EncodedExample;
  const examples = Array.from({ length: 400 }, () => example);
  const rule = { dropout: 0, average: 'probabilities' } as const;
  const settings = { noise: 'token', sampling, seed: 1, stochasticLayers: null, rule } as const;
  const found = await predictAdaptively({ predict } as unknown as Adapter, examples, settings, undefined);
  const done = found.filter((row) => row.settled);
  expect(done.length).toBeGreaterThan(350);
  // Wrong: the first class's probability is off, or another class was chosen although they are not within 0.02.
  const wrong = done.filter(
    ({ probs: [p = 0] }) => Math.abs(p - truth) > 0.02 || (p < 0.5 && 2 * truth - 1 > 0.02),
  );
  expect(wrong.length / done.length).toBeLessThan(0.05);
  expect(Math.max(...found.map(({ samples }) => samples))).toBeGreaterThan(8);
});
