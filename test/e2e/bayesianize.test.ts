import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { bayesianize, evaluate, type RunEvent, train } from 'bpeft';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BpeftProcess } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const model = 'builtin:tiny';

let folder: string;
/** The folder of a short run. */
let mle: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bpeft-'));
  mle = join(folder, 'mle');
  const settings = {
    dataset: 'builtin:exam-topics',
    method: 'mle',
    maxSteps: 20,
    rank: 4,
    lr: 0.01,
  } as const;
  await train({ ...settings, model, out: mle, evalLimit: 2 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('bayesianizes a trained adapter by TFB, prints its search, and leaves the mean as it was', async () => {
  const out = join(temporaryFolder(), 'tfb');
  const events: RunEvent[] = [];
  const options = {
    run: mle,
    method: 'tfb',
    anchors: 12,
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
    search: { sigma, anchors: 12, tolerance: 0.02 },
    made_with: {
      config: { method: 'tfb', anchors: 12, seed: 1, sampling: 'antithetic' },
      rows: [{ name: 'builtin:exam-topics', split: 'train', files: [{ rows: 300 }] }],
    },
  });
  expect(record.made_with.config).toMatchObject({ noise: 'token', stochastic_layers: 'all' });
  expect(record.made_with.rows[0].files[0].sha256).toMatch(/^[0-9a-f]{64}$/);
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
  expect(sampled.evaluations.map(({ samples }) => samples)).toEqual([8]);
  expect(sampled.metrics?.nll).not.toBe(whole.metrics?.nll);
  expect(sampled.metrics?.mutualInformation).toBeGreaterThan(0);
});

it('refuses another base model, an adapter that is there, and a folder that is none', async () => {
  const adapter = join(mle, 'adapter');
  const out = join(temporaryFolder(), 'tfb');
  const options = { model, adapter, anchors: 4, iterations: 1, tolerance: 10, out };
  await expect(bayesianize({ ...options, model: 'builtin:random' })).rejects.toMatchObject({
    code: 'BPEFT_ADAPTER',
    message: expect.stringMatching(/SHA-256 .* got one of/),
  });
  const plain = join(temporaryFolder(), 'plain');
  cpSync(adapter, plain, { recursive: true });
  rmSync(join(plain, 'bpeft.json'));
  const ofOther = {
    ...options,
    adapter: plain,
    model: 'builtin:random',
    dataset: 'builtin:exam-topics',
  };
  await expect(bayesianize(ofOther)).rejects.toMatchObject({
    code: 'BPEFT_ADAPTER',
    hint: expect.stringContaining('it names builtin:tiny as its model, and this is builtin:random'),
  });
  const named = join(plain, 'adapter_config.json');
  const config = JSON.parse(readFileSync(named, 'utf8'));
  writeFileSync(named, JSON.stringify({ ...config, base_model_name_or_path: 'org/other-7b' }));
  const said: RunEvent[] = [];
  const ofNamed = { model, adapter: plain, dataset: ['builtin:exam-topics'], limit: 1 };
  await evaluate(ofNamed, { onEvent: (event) => said.push(event) });
  expect(said).toContainEqual(
    expect.objectContaining({
      code: 'BPEFT_BASE_MODEL_DIFFERS',
      message: expect.stringContaining('names org/other-7b as its model, and this is builtin:tiny'),
    }),
  );
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

it('replaces what it has made, and nothing that was trained, written or left beside it', async () => {
  const adapter = join(mle, 'adapter');
  const parent = temporaryFolder();
  const [copy, notes, made] = ['copy', 'notes', 'made'].map((name) => join(parent, name));
  if (copy === undefined || notes === undefined || made === undefined) throw new TypeError();
  cpSync(adapter, copy, { recursive: true });
  mkdirSync(notes);
  writeFileSync(join(notes, 'README.md'), 'mine');
  const beside = join(parent, '.made.tmp');
  writeFileSync(beside, 'mine');
  const options = { model, adapter, anchors: 4, iterations: 1, tolerance: 10, overwrite: true };
  for (const out of [copy, notes]) {
    const before = readdirSync(out);
    await expect(bayesianize({ ...options, out })).rejects.toMatchObject({
      code: 'BPEFT_RUN_EXISTS',
      message: `${out} holds what bayesianize has not made, and is not replaced`,
    });
    expect(readdirSync(out)).toEqual(before);
  }
  await bayesianize({ ...options, out: made });
  await bayesianize({ ...options, out: made });
  expect(readFileSync(beside, 'utf8')).toBe('mine');
  writeFileSync(join(made, 'README.md'), 'mine');
  await expect(bayesianize({ ...options, out: made })).rejects.toMatchObject({
    message: `${made} holds a README.md that was not written by bpeft, and is not replaced`,
  });
  expect(readdirSync(parent).toSorted()).toEqual(['.made.tmp', 'copy', 'made', 'notes']);
});

it('writes nothing over what came while it worked', async () => {
  const adapter = join(mle, 'adapter');
  const out = join(temporaryFolder(), 'made');
  const onEvent = ({ type }: RunEvent) => {
    if (type === 'look') cpSync(adapter, out, { recursive: true });
  };
  const options = { model, adapter, anchors: 4, iterations: 1, tolerance: 10, out };
  await expect(bayesianize(options, { onEvent })).rejects.toMatchObject({
    code: 'BPEFT_RUN_EXISTS',
  });
  expect(readFileSync(join(out, 'bpeft.json'))).toEqual(readFileSync(join(adapter, 'bpeft.json')));
});

const locked = '.lock';

it('keeps others out of its folder while it works, and leaves no lock there', async () => {
  const out = join(temporaryFolder(), 'made');
  const options = { model, adapter: join(mle, 'adapter'), out, anchors: 4, iterations: 1 };
  const held: boolean[] = [];
  const others: Promise<unknown>[] = [];
  const onEvent = ({ type }: RunEvent) => {
    if (type !== 'look') return;
    held.push(existsSync(join(out, locked)));
    if (others.length > 0) return;
    for (const work of [
      bayesianize({ ...options, tolerance: 10, overwrite: true }),
      evaluate({ run: mle, limit: 2, out }),
    ])
      others.push(work.catch((error: unknown) => error));
  };
  for (const overwrite of [false, true]) {
    others.length = 0;
    await bayesianize({ ...options, tolerance: 10, overwrite }, { onEvent });
    for (const error of await Promise.all(others)) {
      expect(error).toMatchObject({
        code: 'BPEFT_RUN_EXISTS',
        message: `process ${process.pid} is writing to ${out}`,
      });
    }
    expect(readdirSync(out)).not.toContain(locked);
  }
  expect(held.length).toBeGreaterThan(1);
  expect(held).not.toContain(false);
});

it('lets its lock go where it is stopped or fails, and writes nothing once it has lost it', async () => {
  const out = join(temporaryFolder(), 'made');
  const options = { model, adapter: join(mle, 'adapter'), out, anchors: 4, iterations: 1 };
  const stopped = new AbortController();
  const onLook = (what: () => void) => ({
    onEvent: ({ type }: RunEvent) => {
      if (type === 'look') what();
    },
  });
  const work = bayesianize(
    { ...options, tolerance: 10 },
    { ...onLook(() => stopped.abort()), signal: stopped.signal },
  );
  await expect(work).rejects.toMatchObject({ code: 'BPEFT_ABORTED' });
  expect(existsSync(out)).toBe(false);
  const path = join(out, locked);
  const robbed = () => {
    const holder = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...holder, token: 'that of another process' }));
  };
  await expect(bayesianize({ ...options, tolerance: 10 }, onLook(robbed))).rejects.toMatchObject({
    code: 'BPEFT_RUN_EXISTS',
    message: expect.stringContaining('took the lock over while this one stood still'),
  });
  expect(readdirSync(out)).toEqual([locked]);
});

it('lets its lock go on Ctrl-C', async () => {
  const out = join(temporaryFolder(), 'made');
  const asked = ['--run', mle, '--anchors', '300', '--samples', '512', '--out', out];
  const working = new BpeftProcess(['bayesianize', ...asked]);
  while (!existsSync(join(out, locked))) await pause(20);
  working.kill('SIGINT');
  expect((await working.finished).code).toBe(130);
  expect(existsSync(out)).toBe(false);
});
