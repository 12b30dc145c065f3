import { statSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { assetPath } from '../../ts/assets.ts';
import { type BayesianModel, loadModel } from '../../ts/engine/model.ts';

let model: BayesianModel;
beforeAll(async () => {
  model = await loadModel({ model: 'builtin:tiny' });
});
afterAll(() => model.dispose());

it('ships a Llama of 3 to 6 million parameters in at most 8 MB of Q8_0', () => {
  const { architecture, parameters, tensorTypes, vocabSize } = model.info;
  expect(architecture).toBe('llama');
  expect(parameters).toBeGreaterThan(3e6);
  expect(parameters).toBeLessThan(6e6);
  expect(vocabSize).toBe(8000);
  expect(Object.keys(tensorTypes).sort()).toEqual(['F32', 'Q8_0']);
  expect(statSync(assetPath('tiny.gguf')).size).toBeLessThanOrEqual(8e6);
});

it.each([
  'To which field does this exam question belong?',
  ' two  spaces,\ttab\nand newline ',
  'naïve Ωmega 日本語 🦙',
])('reads any text without loss: %j', async (text) => {
  const { ids } = await model.encode([text], false);
  expect(await model.decode(ids)).toBe(text);
});

it('has one token for each of the letters that answer', async () => {
  const { ids, offsets } = await model.encode([' A', ' B', ' C', ' D', ' E'], false);
  expect([...offsets]).toEqual([0, 1, 2, 3, 4, 5]);
  expect(new Set(ids).size).toBe(5);
});

it('tells the quantiles of sigma in each layer, and none of a point estimate', async () => {
  const options = { rank: 2, alpha: 4, dropout: 0, targetModules: ['q_proj', 'lm_head'], seed: 1 };
  const posterior = { sigma: 'square', initEps: 0.05 } as const;
  const adapter = await model.createAdapter({ ...options, posterior });
  const layers = await adapter.sigmaQuantiles([0, 0.5, 1]);
  expect(layers.at(-1)?.name).toBe('lm_head');
  for (const { values } of layers) {
    const [least = 0, median = 0, most = 0] = values;
    // rho starts as U(eps / sqrt 2, eps), sigma is its square: from 0.00125 to 0.0025.
    expect(least).toBeGreaterThanOrEqual(0.05 ** 2 / 2 - 1e-9);
    expect(most).toBeLessThanOrEqual(0.05 ** 2 + 1e-9);
    expect(median).toBeCloseTo((0.05 * (1 + Math.SQRT1_2)) ** 2 / 4, 4);
  }
  await expect(adapter.sigmaQuantiles([1.5])).rejects.toMatchObject({
    code: 'BPEFT_INVALID_INPUT',
  });
  const point = await model.createAdapter({ ...options, posterior: null });
  expect(await point.sigmaQuantiles([0.5])).toEqual([]);
});
