import { expect, it } from 'vitest';
import { loadModel } from '../../ts/engine/model.ts';
import { loadNative } from '../../ts/engine/native.ts';
import { Trainer } from '../../ts/engine/trainer.ts';
import { BPEFT_ERROR_CODES } from '../../ts/errors.ts';

it('knows no error code that the library does not', () => {
  const codes = loadNative().errorCodes();
  expect(codes.length).toBeGreaterThan(0);
  for (const code of codes) expect(BPEFT_ERROR_CODES).toContain(code);
});

it('keeps code, message and hint of an error across a promise', async () => {
  await using model = await loadModel({ model: 'builtin:random' });
  const options = { rank: 0, alpha: 16, dropout: 0, targetModules: ['q_proj'], posterior: null, seed: 1 };
  await expect(model.createAdapter(options)).rejects.toMatchObject({
    name: 'BpeftError',
    code: 'BPEFT_INVALID_CONFIG',
    message: expect.stringMatching(/^rank .*, got 0$/),
  });
});

it('encodes text and decodes it again', async () => {
  await using model = await loadModel({ model: 'builtin:random' });
  const { ids, offsets } = await model.encode(['Größe', ''], false);
  expect([...offsets]).toEqual([0, 7, 7]);
  expect(await model.decode(ids)).toBe('Größe');
});

it('makes the same adapter from the same seed, and another from another', async () => {
  await using model = await loadModel({ model: 'builtin:random' });
  const kl = async (seed: number) => {
    const posterior = { sigma: 'square', initEps: 0.05 } as const;
    const adapter = await model.createAdapter({
      rank: 4,
      alpha: 8,
      dropout: 0,
      targetModules: ['q_proj'],
      posterior,
      seed,
    });
    return adapter.kl({ priorStd: 0.2, form: 'exact' });
  };
  expect(await kl(1)).toBe(await kl(1));
  expect(await kl(1)).not.toBe(await kl(2));
});

it('refuses to train an adapter on a model that it was not made for', async () => {
  await using model = await loadModel({ model: 'builtin:random' });
  await using other = await loadModel({ model: 'builtin:random' });
  const shape = { rank: 4, alpha: 8, dropout: 0, targetModules: ['q_proj'], posterior: null, seed: 1 };
  const adapter = await model.createAdapter(shape);
  const options = {
    seed: 1,
    method: {
      id: 'mle' as const,
      point: {
        lr: 1e-4,
        schedule: { total: 1, warmup: 0, stride: 1 },
        weightDecay: 0,
        adamEpsilon: 1e-6,
        maxGradNorm: 0,
      },
    },
  };
  await expect(Trainer.create(other, adapter, options)).rejects.toMatchObject({
    code: 'BPEFT_INVALID_INPUT',
  });
  await expect(Trainer.create(model, adapter, options)).resolves.toBeInstanceOf(Trainer);
});
