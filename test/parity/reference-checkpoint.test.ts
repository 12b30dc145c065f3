/** A checkpoint of the reference code, as its version of PEFT writes one: a Gaussian over A. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BayesianModel, loadModel } from 'bpeft/engine';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  answerProbs,
  encodedPrompts,
  evaluatedNll,
  largestDifference,
  logitSpread,
  meanLogits,
  meanNll,
  type Prompt,
  succeed,
  TOLERANCE,
  writeQuestions,
} from './engine-side.ts';
import {
  type LoadReport,
  PeftProcess,
  pythonEnvironments,
  type ReferenceReport,
} from './peft-process.ts';

const PRIOR_STD = 0.2;

const folder = mkdtempSync(join(tmpdir(), 'bpeft-parity-'));
const data = join(folder, 'data');
const modelFolder = join(folder, 'model');
const checkpoint = join(folder, 'checkpoint');

let model: BayesianModel;
let prompts: readonly Prompt[] = [];
/** The adapter that the checkpoint was made of, in PEFT alone. */
let mean: LoadReport;
let reference: ReferenceReport;

beforeAll(async () => {
  const [oldest, newest] = pythonEnvironments();
  if (oldest === undefined || newest === undefined)
    throw new Error('two Python environments are needed');
  const maker = new PeftProcess(newest);
  maker.ask('make_model', { out: modelFolder, tied: false, seed: 0 });
  await maker.run();
  writeQuestions(data);
  model = await loadModel({ model: modelFolder, threads: 1 });
  prompts = await encodedPrompts(model, data);
  const ids = prompts.map((prompt) => Array.from(prompt.ids));
  const adapter = join(folder, 'adapter');
  const of = { model: modelFolder, prompts: ids };
  const python = new PeftProcess(oldest);
  python.ask('make_adapter', {
    ...{ model: modelFolder, out: adapter, seed: 0 },
    target_modules: ['q_proj', 'v_proj', 'lm_head'],
  });
  const loaded = python.ask('load_report', { ...of, adapter, without: 'q_proj' });
  const made = python.ask('make_reference_checkpoint', {
    ...{ ...of, adapter, out: checkpoint, seed: 3, prior_std: PRIOR_STD },
  });
  await python.run();
  mean = loaded();
  reference = made();
});

afterAll(async () => {
  await model.dispose();
  rmSync(folder, { recursive: true, force: true });
});

it('gives the logits of its mean, and says what it leaves out', async () => {
  const adapter = await model.loadAdapter(checkpoint);
  expect(adapter.info.notices).toEqual([
    expect.stringContaining('base_model.model.base_model.model.lm_head.base_layer.weight'),
  ]);
  const ours = await meanLogits(adapter, prompts, model.info.vocabSize);
  expect(largestDifference(ours, mean.logits)).toBeLessThanOrEqual(TOLERANCE);
  const { nll, stderr } = await evaluatedNll(modelFolder, checkpoint, data);
  expect(nll).toBeCloseTo(meanNll(answerProbs(mean.logits, prompts), prompts), 4);
  expect(stderr).toContain('repeats a frozen weight of the base model and is left out');
});

it('has the standard deviations and the KL of sigma = rho squared', async () => {
  const adapter = await model.loadAdapter(checkpoint);
  expect(adapter.info).toMatchObject({ bayesian: true, sigma: 'square' });
  expect(adapter.info.sigmaMean).toBeCloseTo(reference.sigma_mean, 6);
  const kl = await adapter.kl({ priorStd: PRIOR_STD, form: 'exact' });
  expect(Math.abs(kl / reference.kl - 1)).toBeLessThan(1e-5);
});

// 4000 samples: the standard error of a standard deviation is 1.1 %; 5 of them.
it('samples the head with them: logits spread by 4000 samples within 6 %', async () => {
  const adapter = await model.loadAdapter(checkpoint);
  const [prompt] = prompts;
  if (prompt === undefined) throw new Error('no prompt');
  const spread = await logitSpread(adapter, prompt, 4000);
  for (const [index, token] of prompt.answers.entries()) {
    const expected = reference.head_logit_std[0]?.[token] ?? Number.NaN;
    expect(Math.abs((spread[index] ?? 0) / expected - 1)).toBeLessThan(0.06);
  }
});

it('predicts with samples from the command line', async () => {
  const { stdout } = await succeed(
    ...['predict', '--model', modelFolder, '--adapter', checkpoint, '--task', 'multiple-choice'],
    ...['--samples', '8', '--threads', '1', join(data, 'validation.jsonl')],
  );
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(rows).toHaveLength(prompts.length);
  for (const { mutual_information, probs } of rows) {
    expect(mutual_information).toBeGreaterThan(1e-6);
    expect(probs.reduce((sum: number, prob: number) => sum + prob, 0)).toBeCloseTo(1, 5);
  }
});
