import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bayesianize, evaluate, type RunEvent, train } from 'bpeft';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bpeft } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const model = 'builtin:tiny';
const dataset = 'builtin:exam-topics';
const asked = { model, dataset: [dataset], limit: 16 };
const folder = mkdtempSync(join(tmpdir(), 'bpeft-laplace-'));
const run = join(folder, 'map');
const adapter = join(run, 'adapter');

beforeAll(async () => {
  const settings = { dataset, method: 'map', maxSteps: 40, rank: 4, lr: 0.01 } as const;
  await train({ ...settings, model, out: run, evalLimit: 2 });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const record = (folder: string) => JSON.parse(readFileSync(join(folder, 'bpeft.json'), 'utf8'));
const weights = (folder: string) => readFileSync(join(folder, 'adapter_model.safetensors'));

it('makes an adapter Bayesian by the evidence, whose answers are less sure than its point', async () => {
  const out = join(temporaryFolder(), 'laplace');
  const events: RunEvent[] = [];
  const options = { run, method: 'laplace', trainSplit: 'train[:160]', out } as const;
  const { laplace, sigma } = await bayesianize(options, {
    onEvent: (event) => events.push(event),
  });
  expect(sigma).toBeNull();
  expect(laplace).toMatchObject({ chosenBy: 'evidence', heldOutNll: null });
  expect(laplace?.determined).toBeGreaterThan(1);
  const progress = events.filter((event) => event.type === 'curvature-progress');
  expect(progress.at(-1)).toMatchObject({ done: laplace?.rows, rows: laplace?.rows });
  expect(record(out)).toMatchObject({
    method: 'laplace',
    sigma: null,
    laplace: { precision: laplace?.precision, chosen_by: 'evidence', stochastic_layers: 'all' },
  });
  const point = await evaluate({ ...asked, adapter });
  const mean = await evaluate({ ...asked, adapter: out, samples: [0] });
  expect(mean.metrics).toEqual(point.metrics);
  const closed = await evaluate({ ...asked, adapter: out, samples: [5, 10] });
  expect(closed.method).toBe('laplace');
  expect(closed.evaluations).toMatchObject([{ samples: 1, link: 'probit' }]);
  expect(closed.metrics?.overconfidence).toBeLessThan(point.metrics?.overconfidence ?? 0);
  const sampled = await evaluate({ ...asked, adapter: out, samples: [2000], link: 'sample' });
  expect(sampled.metrics?.nll).toBeCloseTo(closed.metrics?.nll ?? Number.NaN, 1);
  expect(sampled.metrics?.mutualInformation).toBeGreaterThan(0);
  expect([mean, sampled].map(({ evaluations }) => evaluations[0]?.link)).toEqual([null, 'sample']);
  // Without the record it is what its file says.
  rmSync(join(out, 'bpeft.json'));
  const bare = await evaluate({ ...asked, adapter: out, task: 'multiple-choice' });
  expect([bare.method, bare.metrics?.nll]).toEqual(['laplace', closed.metrics?.nll]);
  const again = join(temporaryFolder(), 'again');
  await bayesianize({ ...options, out: again });
  expect(weights(again).equals(weights(out))).toBe(true);
});

it('takes plain PEFT, the last layer alone, a given precision, or that of held-out rows', async () => {
  const plain = temporaryFolder();
  for (const name of ['adapter_config.json', 'adapter_model.safetensors']) {
    copyFileSync(join(adapter, name), join(plain, name));
  }
  const out = (name: string) => join(temporaryFolder(), name);
  const rows = { dataset, trainSplit: 'train[:80]' };
  const options = { ...rows, model, adapter: plain, method: 'laplace' } as const;
  const last = await bayesianize({
    ...{ ...options, out: out('last') },
    ...{ stochasticLayers: 'last:1', priorPrecision: 3.5 },
  });
  expect(last.laplace).toMatchObject({ precision: 3.5, chosenBy: 'setting' });
  const precisionSplit = 'validation[:60]';
  const byRows = { priorPrecision: 'validation', precisionSplit } as const;
  const held = await bayesianize({ ...options, out: out('held'), ...byRows });
  expect(held.laplace?.chosenBy).toBe('validation');
  const { laplace } = record(held.out);
  expect(laplace.held_out).toMatchObject({ split: precisionSplit, nll: held.laplace?.heldOutNll });
  const all = { model, dataset: [dataset], split: [precisionSplit], adapter: held.out };
  const answered = await evaluate(all);
  expect(answered.metrics?.nll).toBeCloseTo(held.laplace?.heldOutNll ?? Number.NaN, 5);
  const said: string[] = [];
  const onEvent = (event: RunEvent) => event.type === 'warning' && said.push(event.message);
  const scaled = { ...all, split: ['test'], limit: 8, temperature: 'fit' } as const;
  await evaluate({ ...scaled, split: ['test'] }, { onEvent });
  expect(said).toContainEqual(expect.stringContaining("validation chose the prior's precision"));
  const trained = { ...byRows, adapter, trainSplit: 'test', precisionSplit: 'train[:8]' };
  const refused = bayesianize({ ...options, ...trained, out: out('none') });
  await expect(refused).rejects.toThrow('train[:8] trained the adapter');
});

it('refuses what does not fit, and leaves nothing behind', async () => {
  const out = join(temporaryFolder(), 'none');
  const options = { run, method: 'laplace', out } as const;
  const refused = (given: object, code: string, message: RegExp) =>
    expect(bayesianize({ ...options, ...given })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  await refused({ curvatureRank: 129 }, 'BPEFT_USAGE', /curvatureRank must be at most 128/);
  await refused({ anchors: 4 }, 'BPEFT_USAGE', /anchors is a setting of method tfb/);
  const split = { precisionSplit: 'test' };
  await refused(split, 'BPEFT_USAGE', /is the split of priorPrecision validation/);
  const own = { priorPrecision: 'validation', precisionSplit: 'train' } as const;
  await refused(own, 'BPEFT_USAGE', /needs rows that are held out: train/);
  const other = /SHA-256 .* got one of .* other shapes .* must have shape \[\d+, \d+\], got/s;
  await refused({ model: 'builtin:random' }, 'BPEFT_ADAPTER', other);
  const ensemble = join(temporaryFolder(), 'ensemble');
  const settings = { dataset, method: 'ensemble', members: 2, maxSteps: 2, rank: 2 } as const;
  await train({ ...settings, model, out: ensemble, evalLimit: 2 });
  await refused({ run: ensemble }, 'BPEFT_INVALID_INPUT', /got an ensemble of 2 members/);
  const { code, stderr } = await bpeft(
    ...['bayesianize', '--method', 'laplace', '--run', run, '--out', out],
    ...['--curvature-memory', '1', '--curvature-rank', '128', '--train-split', 'train[:32]'],
  );
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/must fit 1 MiB.*\n *hint: lower --curvature-rank/);
  expect(existsSync(out)).toBe(false);
});

it('names the row without an answer, of which it has no gradient', async () => {
  const data = join(temporaryFolder(), 'own');
  mkdirSync(data);
  const row = { question: 'What melts?', choices: ['ice', 'stone'] };
  const lines = (...rows: object[]) => rows.map((one) => `${JSON.stringify(one)}\n\n`).join('');
  const answered = { ...row, answer: 0 };
  const options = {
    model,
    adapter,
    dataset: data,
    method: 'laplace',
    out: join(data, 'x'),
  } as const;
  for (const [train, validation, message] of [
    [[answered, row], [answered], `train.jsonl:3: has no answer to take the curvature from`],
    [[answered], [answered, row], `validation.jsonl:3: has no answer to choose the precision by`],
  ] as const) {
    writeFileSync(join(data, 'train.jsonl'), lines(...train));
    writeFileSync(join(data, 'validation.jsonl'), lines(...validation));
    await expect(bayesianize({ ...options, priorPrecision: 'validation' })).rejects.toMatchObject({
      code: 'BPEFT_DATASET',
      message: join(data, message),
    });
  }
});
