import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dryRun, evaluate, loadModel, openPredictor, type RunEvent, train } from 'bpeft';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Answer, startService } from '../../examples/node-service.ts';
import { fixtureData } from '../support/bpeft-process.ts';

const data = { dataset: 'ARC-Easy', dataDir: fixtureData, maxSeqLen: 700 } as const;
const question = { question: 'Which planet has rings?', choices: ['Mars', 'Saturn', 'Venus'] };
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bpeft-library-'));
  for (const method of ['mle', 'blob'] as const) {
    const out = join(folder, method);
    await train({
      ...data,
      model: 'builtin:random',
      method,
      out,
      maxSteps: 4,
      evalLimit: 4,
      evalSamples: [2],
    });
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('tells what it does as typed events', async () => {
  const events: RunEvent[] = [];
  const run = {
    ...data,
    model: 'builtin:random',
    out: join(folder, 'events'),
    maxSteps: 2,
    checkpointEvery: 1,
  };
  await train(
    { ...run, evalLimit: 4, evalSamples: [0] },
    { onEvent: (event) => events.push(event) },
  );
  expect(events.map(({ type }) => type)).toEqual([
    'run-started',
    'step',
    'checkpoint',
    'step',
    'checkpoint',
    'posterior',
    'evaluation-progress',
    'evaluation',
    'finished',
  ]);
});

it('trains and answers in every precision, which changes the numbers but little', async () => {
  const run = { ...data, model: 'builtin:random', maxSteps: 4, evalLimit: 20, evalSamples: [2] };
  const nll: Record<string, number> = {};
  for (const precision of ['f32', 'bf16', 'int8', 'int8-mixed'] as const) {
    const out = join(folder, precision);
    nll[precision] = (await train({ ...run, precision, out })).metrics?.nll ?? Number.NaN;
    const again = await evaluate({ run: out, samples: [2], limit: 20 });
    expect(again.metrics?.nll).toBe(nll[precision]);
  }
  expect(new Set(Object.values(nll)).size).toBe(4);
  expect(nll.bf16).toBeCloseTo(nll.f32 ?? Number.NaN, 1);
  expect(nll.int8).toBeCloseTo(nll.f32 ?? Number.NaN, 0);
  expect(nll['int8-mixed']).toBeCloseTo(nll.f32 ?? Number.NaN, 0);
});

it('quantises the blocks where they fit, and says so', async () => {
  const plain = await loadModel({ model: 'builtin:tiny' });
  const quantized = await loadModel({ model: 'builtin:tiny', quantize: 'q4_k' });
  expect(plain.info.blockTypes).toEqual({ Q8_0: 7 * plain.info.numLayers });
  const types = quantized.info.blockTypes;
  expect(types).toEqual({
    Q4_K: expect.any(Number),
    ...(types.Q8_0 === undefined ? {} : { Q8_0: types.Q8_0 }),
  });
  expect(quantized.info.memoryBytes).toBeLessThan(plain.info.memoryBytes);
  await plain.dispose();
  await quantized.dispose();
  const run = { ...data, model: 'builtin:random', quantize: 'q4_k', maxSteps: 2 } as const;
  const { plan } = await dryRun(run);
  // its rows are shorter than a block of q4_k
  expect(Object.keys(plan.blockTypes)).toEqual(['Q8_0']);
  const nf4 = await loadModel({ model: 'builtin:tiny', quantize: 'nf4' });
  expect(nf4.info.blockTypes).toEqual({ NF4: 7 * plain.info.numLayers });
  await nf4.dispose();
  const rows = await dryRun({ ...run, quantize: 'int8' });
  expect(Object.keys(rows.plan.blockTypes)).toEqual(['Q8_0']);
});

it('computes activations again where it is told to, with the same result', async () => {
  const run = { ...data, model: 'builtin:random', maxSteps: 3, evalLimit: 4, evalSamples: [0] };
  const metrics = [];
  for (const checkpointing of ['none', 'full', 'auto'] as const) {
    const result = await train({
      ...run,
      checkpointing,
      out: join(folder, `checkpointing-${checkpointing}`),
    });
    metrics.push(result.metrics);
  }
  expect(metrics[1]).toEqual(metrics[0]);
  expect(metrics[2]).toEqual(metrics[0]);
});

it('records the arithmetic of a model that is already loaded, which the adapter asks for again', async () => {
  const model = await loadModel({ model: 'builtin:random', precision: 'bf16', quantize: 'q8_0' });
  const out = join(folder, 'arithmetic');
  const run = {
    ...data,
    model: 'builtin:random',
    out,
    maxSteps: 2,
    evalLimit: 4,
    evalSamples: [0],
  };
  await expect(train({ ...run, precision: 'f32' }, { model })).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    message: 'precision must be bf16, as the given model was loaded, got f32',
  });
  await expect(train({ ...run, precision: 'fp16' as 'bf16' }, { model })).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    message: expect.stringContaining('must be one of'),
  });
  const unset = { precision: null } as unknown as { precision?: undefined };
  const trained = await train({ ...run, ...unset }, { model });
  await model.dispose();
  expect(trained.run).toMatchObject({ precision: 'bf16', quantize: 'q8_0' });
  const adapter = join(out, 'adapter');
  const beside = { ...data, model: 'builtin:random', adapter, samples: [0], limit: 4 };
  const { arithmetic } = JSON.parse(readFileSync(join(adapter, 'bpeft.json'), 'utf8'));
  expect(arithmetic).toEqual({ precision: 'bf16', quantize: 'q8_0' });
  const again = await evaluate({ ...beside, dataset: ['ARC-Easy'] });
  expect(again.metrics).toEqual(trained.metrics);
  const warnings: string[] = [];
  const onEvent = (event: RunEvent) => event.type === 'warning' && warnings.push(event.message);
  await evaluate({ ...beside, dataset: ['ARC-Easy'], quantize: 'none' }, { onEvent });
  expect(warnings).toContain(
    'the adapter was trained with quantize q8_0, this model has none: probabilities may differ',
  );
});

it('uses a model that is already loaded, and leaves it alive', async () => {
  const model = await loadModel({ model: 'builtin:random' });
  const run = join(folder, 'blob');
  const first = await evaluate({ run, samples: [2], limit: 4 }, { model });
  const again = await evaluate({ run, samples: [2], limit: 4 }, { model });
  expect(first.metrics).toEqual(again.metrics);
  await model.dispose();
  await expect(model.encode(['x'], false)).rejects.toMatchObject({ code: 'BPEFT_WORKER_STOPPED' });
  await expect(model.dispose()).resolves.toBeUndefined();
});

it('takes as many samples as each answer needs: those of a fixed number', async () => {
  const run = join(folder, 'blob');
  const rows = [question, { question: 'What melts?', choices: ['ice', 'stone', 'air', 'light'] }];
  for (const sampling of ['plain', 'antithetic'] as const) {
    await using adaptive = await openPredictor({ run, samples: 'auto', sampling });
    const answers = await adaptive.predict(rows);
    for (const [index, found] of answers.entries()) {
      expect([16, 32, 64, 128, 256]).toContain(found.samples);
      await using fixed = await openPredictor({ run, samples: found.samples ?? 0, sampling });
      const { samples: _, settled: __, ...same } = found;
      expect(found.settled).toEqual(expect.any(Boolean));
      expect((await fixed.predict(rows))[index]).toEqual(same);
    }
  }
  await using point = await openPredictor({ run: join(folder, 'mle'), samples: 'auto' });
  expect((await point.predict(rows))[0]?.mutualInformation).toBeNull();
  await expect(openPredictor({ run, samples: 'some' as 'auto' })).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    message: expect.stringContaining('must be auto or a whole number from 0 to 65536'),
  });
});

it('rejects work that is aborted before or while it runs', async () => {
  const controller = new AbortController();
  const run = { ...data, model: 'builtin:random', maxSteps: 5000 };
  const stopAtThird = (event: RunEvent) => {
    if (event.type === 'step' && event.step === 3) controller.abort();
  };
  const training = train(
    { ...run, out: join(folder, 'aborted') },
    { signal: controller.signal, onEvent: stopAtThird },
  );
  await expect(training).rejects.toMatchObject({
    code: 'BPEFT_ABORTED',
    message: 'interrupted after step 3 of 5000',
  });
  await expect(dryRun(run, { signal: controller.signal })).rejects.toMatchObject({
    code: 'BPEFT_ABORTED',
  });
});

it('answers from two models at once, while a third request is aborted', async () => {
  await using point = await openPredictor({ run: join(folder, 'mle') });
  await using bayesian = await openPredictor({ run: join(folder, 'blob'), samples: 4 });
  const controller = new AbortController();
  const many = Array.from({ length: 200 }, () => question);
  const aborted = bayesian.predict(many, { signal: controller.signal });
  const answers = Promise.all([point.predict([question]), bayesian.predict([question])]);
  controller.abort();
  await expect(aborted).rejects.toMatchObject({ code: 'BPEFT_ABORTED' });
  const [[fromPoint], [fromBayesian]] = await answers;
  expect(fromPoint?.mutualInformation).toBeNull();
  expect(fromBayesian?.mutualInformation).toBeGreaterThan(0);
  expect(fromBayesian?.probs.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
});

it('runs the service of examples/node-service.ts', async () => {
  await using service = await startService(
    { mle: join(folder, 'mle'), blob: join(folder, 'blob') },
    0,
  );
  const { port } = service.server.address() as AddressInfo;
  const post = async (path: string, content: object) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      body: JSON.stringify(content),
    });
    return {
      status: response.status,
      content: (await response.json()) as Answer & { code?: string },
    };
  };
  const [mle, blob] = await Promise.all([post('/mle', question), post('/blob', question)]);
  expect([mle.status, blob.status]).toEqual([200, 200]);
  expect([mle.content.epistemic, blob.content.probs.length]).toEqual([null, 3]);
  expect(blob.content.epistemic).toBeGreaterThan(0);
  expect((await post('/nobody', question)).status).toBe(404);
  expect(await post('/blob', { question: 'no choices' })).toMatchObject({
    status: 422,
    content: { code: 'BPEFT_DATASET' },
  });

  const hangUp = request({ port, path: '/blob', method: 'POST' });
  const gone = new Promise((resolve) => hangUp.on('error', resolve));
  hangUp.end(JSON.stringify(question), () => hangUp.destroy(new Error('hung up')));
  await gone;
  expect((await post('/blob', question)).content).toEqual(blob.content);
});
