/**
 * Laplace's approximation against laplace-torch, on a tiny random Llama and an adapter that PEFT
 * made: the evidence, and mean and covariance of the logits' Gaussian, of all layers and of the
 * head alone. Theirs is in f64, ours in f32: 1e-3 of the largest.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BayesianModel, Curvature, loadModel, type RaggedBatch } from 'bpeft/engine';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type LaplaceReport, PeftProcess, pythonEnvironments } from './peft-process.ts';

const TOKENS = [40, 50, 60];
const PRECISION = 2;
const folder = mkdtempSync(join(tmpdir(), 'bpeft-parity-laplace-'));
const at = (name: string): string => join(folder, name);
const reports = new Map<boolean, LaplaceReport>();
let model: BayesianModel;

/** Prompts of one length, which differ. */
const prompts = (count: number, length: number, first: number): number[][] =>
  Array.from({ length: count }, (_, row) =>
    Array.from({ length }, (_, place) => 2 + ((first + 53 * row + 17 * place * (row + 1)) % 280)),
  );
const trained = prompts(6, 7, 0);
const labels = [0, 1, 2, 0, 1, 2];
const asked = prompts(3, 5, 1000);

beforeAll(async () => {
  const newest = pythonEnvironments().at(-1);
  if (newest === undefined) throw new Error('a Python environment is needed');
  const python = new PeftProcess(newest);
  python.ask('make_model', { out: at('model'), tied: false, seed: 4 });
  const target_modules = ['k_proj', 'v_proj', 'lm_head'];
  const paths = { model: at('model'), adapter: at('adapter') };
  python.ask('make_adapter', { model: at('model'), out: at('adapter'), seed: 5, target_modules });
  const data = { prompts: trained, labels, tokens: TOKENS, asked, precision: PRECISION };
  const answers = [false, true].map((head_alone) => ({
    head_alone,
    answer: python.ask('laplace', { ...paths, ...data, head_alone }),
  }));
  await python.run();
  for (const { head_alone, answer } of answers) reports.set(head_alone, answer());
  model = await loadModel({ model: at('model'), threads: 1 });
});

afterAll(async () => {
  await model?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** Within a thousandth of the largest. */
function expectNear(found: readonly number[], expected: readonly number[]): void {
  const largest = Math.max(...expected.map(Math.abs));
  expect(found.length).toBe(expected.length);
  for (const [at, value] of expected.entries()) {
    expect(Math.abs((found[at] ?? Number.NaN) - value)).toBeLessThan(1e-3 * largest);
  }
}

/** Prompts whose answers are the same tokens. */
function batchOf(rows: readonly number[][], right: readonly number[]): RaggedBatch {
  const bounds = (width: number) =>
    Uint32Array.from({ length: rows.length + 1 }, (_, at) => at * width);
  return {
    ids: Uint32Array.from(rows.flat()),
    offsets: bounds(rows[0]?.length ?? 0),
    answers: Uint32Array.from(rows.flatMap(() => TOKENS)),
    answerOffsets: bounds(TOKENS.length),
    labels: Int32Array.from(rows, (_, row) => right[row] ?? 0),
    rows: Uint32Array.from(rows.keys()),
  };
}

it.each([
  [false, 'all layers'],
  [true, 'the head alone'],
])('has the evidence and the answers of laplace-torch (head alone: %j)', async (headAlone) => {
  const report = reports.get(headAlone);
  if (report === undefined) throw new Error('laplace-torch gave no report');
  await using adapter = await model.loadAdapter(at('adapter'));
  await using curvature = await Curvature.create(model, adapter, {
    ...{ rank: 128, memoryBytes: 2 ** 30, classTokens: 64 },
    stochasticLayers: headAlone ? 1 : null,
  });
  await curvature.add(batchOf(trained, labels));
  const { logEvidence } = await curvature.evidence(PRECISION);
  expect(Math.abs(logEvidence - report.evidence)).toBeLessThan(1e-3 * Math.abs(report.evidence));

  const batch = batchOf(asked, []);
  const { mean, covariances } = await curvature.gaussian(batch, PRECISION);
  expectNear([...mean], report.mean.flat());
  for (const [row, covariance] of report.covariance.entries()) {
    expectNear([...(covariances[row] ?? [])], covariance.flat());
  }
  await using posterior = await curvature.adapter(PRECISION);
  const options = { samples: 1, noise: 'token', seed: 1, stochasticLayers: null } as const;
  const bridge = await posterior.predict(batch, { ...options, link: 'bridge' });
  expectNear([...bridge].map(Math.exp), report.bridge.flat());
});
