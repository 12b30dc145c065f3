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
