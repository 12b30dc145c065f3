import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bayesianize, evaluate, type RunEvent, train } from 'bpeft';
import { expect, it } from 'vitest';
import { temporaryFolder } from '../support/temporary-folder.ts';

const model = 'builtin:tiny';

/** The folder of a short run. */
async function trained(): Promise<string> {
  const out = join(temporaryFolder(), 'mle');
  const settings = {
    dataset: 'builtin:exam-topics',
    method: 'mle',
    maxSteps: 20,
    rank: 4,
    lr: 0.01,
  } as const;
  await train({ ...settings, model, out, evalLimit: 2 });
  return out;
}

it('bayesianizes a trained adapter by TFB, prints its search, and leaves the mean as it was', async () => {
  const mle = await trained();
  const out = join(temporaryFolder(), 'tfb');
  const events: RunEvent[] = [];
  const options = {
    run: mle,
    method: 'tfb',
    anchors: 24,
    iterations: 6,
    tolerance: 0.02,
    out,
  } as const;
  const { sigma, looks } = await bayesianize(options, { onEvent: (event) => events.push(event) });
  expect(looks).toHaveLength(8);
  const within = looks.filter((look) => look.isWithin);
  expect(Math.max(...within.map((look) => look.sigma))).toBe(sigma);
  expect(looks.some((look) => !look.isWithin)).toBe(true);
  expect(events.filter(({ type }) => type === 'look')).toHaveLength(8);
  const record = JSON.parse(readFileSync(join(out, 'bpeft.json'), 'utf8'));
  expect(record).toMatchObject({
    method: 'tfb',
    sigma: 'square',
    search: { sigma, anchors: 24, tolerance: 0.02 },
  });
  expect(record.search.looks.at(-1)).toEqual({
    ...{
      sigma: looks.at(-1)?.sigma,
      change: looks.at(-1)?.change,
      is_within: looks.at(-1)?.isWithin,
    },
  });
  const asked = { model, dataset: ['builtin:exam-topics'], limit: 16 };
  const point = await evaluate({ ...asked, adapter: join(mle, 'adapter') });
  const mean = await evaluate({ ...asked, adapter: out, samples: [0] });
  expect(mean.metrics?.nll).toBeCloseTo(point.metrics?.nll ?? Number.NaN, 4);
  const sampled = await evaluate({ ...asked, adapter: out, samples: [8] });
  expect(sampled.metrics?.nll).not.toBe(mean.metrics?.nll);
  const again = join(temporaryFolder(), 'again');
  expect((await bayesianize({ ...options, out: again })).sigma).toBe(sigma);
  const weights = (folder: string) => readFileSync(join(folder, 'adapter_model.safetensors'));
  expect(weights(again).equals(weights(out))).toBe(true);
});

it('bayesianizes every member of an ensemble by one scale', async () => {
  const run = join(temporaryFolder(), 'ensemble');
  const settings = {
    dataset: 'builtin:exam-topics',
    method: 'ensemble',
    members: 2,
    maxSteps: 12,
  } as const;
  await train({ ...settings, model, rank: 4, lr: 0.01, out: run, evalLimit: 2 });
  const out = join(temporaryFolder(), 'tfb');
  const search = { anchors: 8, iterations: 2, tolerance: 0.5, samples: 4 };
  const { sigma } = await bayesianize({ run, method: 'tfb', ...search, out });
  expect(sigma).toBeGreaterThan(0);
  expect(JSON.parse(readFileSync(join(out, 'bpeft.json'), 'utf8'))).toMatchObject({ members: 2 });
  const asked = { model, adapter: out, dataset: ['builtin:exam-topics'], limit: 8 };
  const whole = await evaluate({ ...asked, samples: [0] });
  const before = await evaluate({ ...asked, adapter: join(run, 'adapter') });
  expect(whole.metrics?.nll).toBeCloseTo(before.metrics?.nll ?? Number.NaN, 4);
  const sampled = await evaluate({ ...asked, samples: [4] });
  expect(sampled.metrics?.nll).not.toBe(whole.metrics?.nll);
  expect(sampled.metrics?.mutualInformation).toBeGreaterThan(0);
});

it('refuses another base model, an adapter that is there, and a folder that is none', async () => {
  const mle = await trained();
  const adapter = join(mle, 'adapter');
  const out = join(temporaryFolder(), 'tfb');
  const options = { model, adapter, anchors: 4, iterations: 1, tolerance: 10, out };
  await expect(bayesianize({ ...options, model: 'builtin:random' })).rejects.toMatchObject({
    code: 'BPEFT_ADAPTER',
    message: expect.stringMatching(/SHA-256 .* got one of/),
  });
  await expect(bayesianize({ ...options, method: 'blob' })).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
  });
  await bayesianize(options);
  await expect(bayesianize(options)).rejects.toMatchObject({ code: 'BPEFT_RUN_EXISTS' });
  await bayesianize({ ...options, overwrite: true });
  for (const place of [mle, adapter]) {
    await expect(bayesianize({ ...options, out: place, overwrite: true })).rejects.toMatchObject({
      code: 'BPEFT_USAGE',
    });
  }
});
