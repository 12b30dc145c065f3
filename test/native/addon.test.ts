import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { raggedBatch } from '../../ts/batches/ragged-batch.ts';
import { loadModel } from '../../ts/engine/model.ts';
import { loadNative } from '../../ts/engine/native.ts';
import { Trainer } from '../../ts/engine/trainer.ts';
import { BPEFT_ERROR_CODES } from '../../ts/errors.ts';
import { randomModel } from '../support/random-model.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

it('knows no error code that the library does not', () => {
  const codes = loadNative().errorCodes();
  expect(codes.length).toBeGreaterThan(0);
  for (const code of codes) expect(BPEFT_ERROR_CODES).toContain(code);
});

it('keeps code, message and hint of an error across a promise', async () => {
  await using model = await loadModel({ model: 'builtin:random' });
  const options = {
    rank: 0,
    alpha: 16,
    dropout: 0,
    targetModules: ['q_proj'],
    posterior: null,
    seed: 1,
  };
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

it('opens a model whose tokenizer knows more tokens than it, and refuses texts that hold them', async () => {
  const folder = temporaryFolder();
  const files = randomModel();
  const tokenizer = JSON.parse(String(files['tokenizer.json']));
  // The matrix has 257 rows.
  tokenizer.added_tokens = ['[LAST]', '[PAD]'].map((content, at) => ({
    ...{ id: 256 + at, content, special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  }));
  for (const [name, content] of Object.entries({
    ...files,
    'tokenizer.json': JSON.stringify(tokenizer),
  }))
    writeFileSync(join(folder, name), content);
  await using model = await loadModel({ model: folder });
  expect([...(await model.encode(['a[LAST]'], false)).ids]).toEqual([97, 256]);
  await expect(model.encode(['a', 'b[PAD]'], false)).rejects.toMatchObject({
    code: 'BPEFT_INVALID_INPUT',
    message: expect.stringMatching(
      /which has 257, got "\[PAD\]" \(id 257\) in the one .*"b\[PAD\]"/,
    ),
  });
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
  const shape = {
    rank: 4,
    alpha: 8,
    dropout: 0,
    targetModules: ['q_proj'],
    posterior: null,
    seed: 1,
  };
  const adapter = await model.createAdapter(shape);
  const options = {
    seed: 1,
    method: {
      id: 'mle' as const,
      point: {
        lr: 1e-4,
        schedule: { total: 1, warmup: 0, warmupStart: 0, stride: 1 },
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

it('trains, saves and draws a Gaussian over both factors by IVON', async () => {
  await using model = await loadModel({ model: 'builtin:random' });
  const posterior = { sigma: 'square', initEps: 0.05, over: 'a-and-b' } as const;
  const shape = {
    rank: 4,
    alpha: 8,
    dropout: 0,
    targetModules: ['q_proj', 'lm_head'],
    posterior,
    seed: 1,
  };
  const adapter = await model.createAdapter(shape);
  const trainer = await Trainer.create(model, adapter, {
    seed: 1,
    method: {
      id: 'ivon',
      lr: 0.03,
      schedule: { total: 10, warmup: 0, warmupStart: 0, stride: 1 },
      effectiveRows: 1000,
      weightDecay: 1e-4,
      initialHessian: 1e-2,
      beta1: 0.9,
      beta2: 0.999,
      clip: 1e-2,
      trainSamples: 2,
    },
  });
  const rows = [0, 1, 2].map((row) => ({
    row,
    noise: row,
    id: null,
    ids: Uint32Array.of(1 + row, 2, 3),
    answers: Uint32Array.of(65, 66),
    label: 1,
    truncated: false,
  }));
  const batch = raggedBatch(rows);
  const first = await trainer.step([batch]);
  let last = first;
  for (let step = 0; step < 9; step += 1) last = await trainer.step([batch]);
  expect(last.nll).toBeLessThan(first.nll);
  // About 1/√(λ(h + δ)) with h near its start.
  expect(last.sigmaMean).toBeCloseTo(1 / Math.sqrt(1000 * (1e-2 + 1e-4)), 2);
  const folder = temporaryFolder();
  await adapter.save(folder, { baseModel: 'random' });
  const loaded = await model.loadAdapter(folder);
  const asked = { samples: 3, noise: 'token', seed: 1, stochasticLayers: null } as const;
  const answers = await loaded.predict(batch, asked);
  expect(answers).toEqual(await adapter.predict(batch, asked));
  expect(new Set(answers).size).toBe(answers.length);
});
