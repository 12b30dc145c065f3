import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { speakFlags } from '../../../../ts/errors.ts';
import type { RunEvent, StepDone } from '../../../../ts/events/run-event.ts';
import { kebabCase } from '../../../../ts/names.ts';
import { fileJson, fromFileJson } from '../../../../ts/run/records/json.ts';
import { MetricsLog, readLoggedSteps } from '../../../../ts/run/records/metrics-log.ts';
import { quantile } from '../../../../ts/run/records/result.ts';
import { RunFolder, recordedSettings } from '../../../../ts/run/records/run-folder.ts';
import { checkSameEvaluation, checkSameRun } from '../../../../ts/run/training/resume.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

beforeAll(speakFlags);

it('refuses a folder that holds another run', async () => {
  const folder = new RunFolder(temporaryFolder());
  expect(() => folder.requireFree({ overwrite: false, resume: false })).not.toThrow();
  await folder.create();
  expect(() => folder.requireFree({ overwrite: false, resume: false })).toThrow(
    expect.objectContaining({
      code: 'BPEFT_RUN_EXISTS',
      hint: expect.stringContaining('--resume'),
    }),
  );
  expect(() => folder.requireFree({ overwrite: true, resume: false })).not.toThrow();
  expect(() => folder.requireFree({ overwrite: false, resume: true })).not.toThrow();
});

it('records no path of this machine, but finds the inputs again', async () => {
  const folder = new RunFolder(temporaryFolder());
  await folder.create();
  const config = {
    model: '/models/x.gguf',
    dataset: 'ARC-Easy',
    dataDir: '/data',
    seed: 3,
    out: '/o',
    resume: true,
  };
  const recorded = recordedSettings('train', config);
  expect(recorded).toEqual({ model: 'x.gguf', dataset: 'ARC-Easy', seed: 3 });
  writeFileSync(folder.config, JSON.stringify({ format: 1, config: recorded }));
  await folder.writePaths(config);
  expect((await folder.settings()).values).toEqual({
    model: '/models/x.gguf',
    dataset: 'ARC-Easy',
    dataDir: '/data',
    seed: 3,
  });
});

it('says that a folder is no run', async () => {
  await expect(new RunFolder(temporaryFolder()).settings()).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
  });
});

it('records nothing that the method does not know', () => {
  const config = { method: 'mle', lr: 0.1, klLr: 0.01, sigma: 'square', members: 3 };
  expect(recordedSettings('train', config)).toEqual({ method: 'mle', lr: 0.1 });
  expect(recordedSettings('train', { ...config, method: 'ensemble' })).toEqual({
    method: 'ensemble',
    lr: 0.1,
    members: 3,
  });
});

it('resumes only the same run', () => {
  const recorded = {
    method: 'blob',
    lr: 0.1,
    klLr: 1,
    model: 'a.gguf',
    evalSamples: [10],
    threads: 2,
  };
  const same = {
    method: 'blob',
    lr: 0.1,
    klLr: 1,
    model: 'b.gguf',
    evalSamples: [0],
    metricMean: 'rows',
  };
  const resumedWith = (now: object) => () => checkSameRun(recorded, { ...same, ...now }, 'runs/x');
  expect(resumedWith({})).not.toThrow();
  expect(resumedWith({ lr: 0.2 })).toThrow(
    'runs/x was started with --lr 0.1, and cannot be resumed with 0.2',
  );
  expect(resumedWith({ klLr: 2 })).toThrow('--kl-lr 1');
  expect(resumedWith({ order: 'file' })).toThrow(
    '--order unset, and cannot be resumed with "file"',
  );
});

it('asks of a resumed run only what its method depends on', () => {
  expect(() =>
    checkSameRun({ method: 'mle', klLr: 0.1 }, { method: 'mle' }, 'runs/x'),
  ).not.toThrow();
});

it.each([
  'evalSamples',
  'evalDataset',
  'evalLimit',
  'split',
  'sampling',
  'evalBatchSize',
  'metricMean',
  'evaluationTail',
])('does not give the outcome of a finished run for another %s', (key) => {
  const recorded = { method: 'blob', lr: 0.1, [key]: 'a', threads: 2 };
  const now = { ...recorded, [key]: 'b', threads: 4 };
  expect(() => checkSameEvaluation(recorded, { ...now, [key]: 'a' }, 'runs/x')).not.toThrow();
  expect(() => checkSameEvaluation(recorded, now, 'runs/x')).toThrow(
    expect.objectContaining({
      message: `runs/x is finished with --${kebabCase(key)} "a", not "b"`,
    }),
  );
});

const step = (number: number): StepDone => ({
  type: 'step',
  step: number,
  steps: 9,
  nll: 1.5,
  kl: null,
  klWeight: null,
  accuracy: 0.5,
  lr: 1e-4,
  klLr: null,
  sigmaMean: null,
  gradNorm: 2,
  tokens: 40,
  ms: 12.3456,
});

it('writes a line per step and knows its length', async () => {
  const path = join(temporaryFolder(), 'metrics.jsonl');
  const log = await MetricsLog.open(path, 0);
  log.write(step(1));
  log.write({ type: 'checkpoint', step: 1, folder: 'x' } satisfies RunEvent);
  await log.close();
  const text = readFileSync(path, 'utf8');
  expect(text).toBe(
    '{"type":"step","step":1,"nll":1.5,"kl":null,"kl_weight":null,"accuracy":0.5,"lr":0.0001,"kl_lr":null,' +
      '"sigma_mean":null,"grad_norm":2,"tokens":40,"ms":12.35}\n',
  );
  expect(log.bytes).toBe(text.length);
});

it('cuts the metrics back to where the checkpoint left them', async () => {
  const path = join(temporaryFolder(), 'metrics.jsonl');
  const first = await MetricsLog.open(path, 0);
  first.write(step(1));
  const { bytes } = first;
  first.write(step(2));
  await first.close();
  const resumed = await MetricsLog.open(path, bytes);
  resumed.write(step(2));
  resumed.write(step(3));
  await resumed.close();
  const { steps } = await readLoggedSteps(path, resumed.bytes);
  expect(steps.map((line) => line.step)).toEqual([1, 2, 3]);
});

it('reads no steps where there is no file yet', async () => {
  const path = join(temporaryFolder(), 'none.jsonl');
  expect(await readLoggedSteps(path, 0)).toEqual({ steps: [], lines: 0 });
  expect(existsSync(path)).toBe(false);
});

it('writes an infinite NLL as text, since null would mean "no labels"', async () => {
  const result = { dataset: 'Infinity', metrics: { nll: Number.POSITIVE_INFINITY, acc: null } };
  expect(JSON.parse(fileJson(result))).toEqual({
    dataset: 'Infinity',
    metrics: { nll: 'Infinity', acc: null },
  });
  expect(fromFileJson(fileJson(result))).toEqual(result);
});

it.each([
  [0.5, 3],
  [0.1, 1],
  [0.9, 5],
])('takes the %f quantile', (fraction, value) => {
  expect(quantile([5, 1, 4, 2, 3], fraction)).toBe(value);
});
