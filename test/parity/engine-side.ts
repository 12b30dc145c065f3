/** The engine's half of the comparison: its data, its training runs and its logits. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Adapter,
  type BayesianModel,
  DATA_PROTOCOLS,
  encodeDataset,
  raggedBatch,
  resolveDataset,
} from 'bpeft/engine';
import { expect } from 'vitest';
import { bpeft } from '../support/bpeft-process.ts';
import type { Logits } from './peft-process.ts';

/** An encoded prompt, with the tokens of its answers. */
export type Prompt = Awaited<ReturnType<typeof encodeDataset>>['examples'][number];

/** Of {@link largestDifference}: two orders of float32 sums. */
export const TOLERANCE = 1e-4;

const ROWS = 24;

/** Questions with two to five choices; the right one is that whose word repeats the question's. */
export function writeQuestions(folder: string): void {
  const words = ['stone', 'river', 'cloud', 'ember', 'grass', 'metal', 'night'];
  const rows = Array.from({ length: ROWS }, (_, row) => {
    const count = 2 + (row % 4);
    const answer = (row * 5) % count;
    const choices = Array.from(
      { length: count },
      (_, index) => words[(row + 3 * index) % words.length],
    );
    return { question: `Pick ${choices[answer]}, number ${row}.`, choices, answer };
  });
  mkdirSync(folder, { recursive: true });
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`);
  writeFileSync(join(folder, 'train.jsonl'), lines.slice(8).join(''));
  writeFileSync(join(folder, 'validation.jsonl'), lines.slice(0, 8).join(''));
}

/** The validation split as `eval` and `predict` encode it. */
export async function encodedPrompts(
  model: BayesianModel,
  data: string,
): Promise<readonly Prompt[]> {
  const dataset = await (await resolveDataset(data)).load('validation');
  const options = { protocol: DATA_PROTOCOLS.corrected, maxSeqLen: 300 };
  return (await encodeDataset(dataset, model, options)).examples;
}

/** What a method needs beside what all have. */
const SETTINGS = {
  mle: ['--lr', '0.01'],
  ensemble: ['--lr', '0.01', '--members', '2'],
  blob: ['--lr', '0.01', '--kl-cycle', '10'],
  bbb: ['--lr', '0.01', '--gaussian', 'a-and-b'],
  ivon: ['--ivon-lr', '5'],
  swag: ['--lr', '0.01', '--swag-every', '5'],
  scalabl: ['--lr', '0.01', '--kl-cycle', '10'],
  'c-lora': ['--lr', '0.01', '--kl-cycle', '10'],
} as const;

/** A few minutes' worth of learning in a second: many updates at a high rate. */
export async function trainRun(run: {
  readonly model: string;
  readonly data: string;
  readonly out: string;
  readonly method: keyof typeof SETTINGS;
  readonly targets: readonly string[];
}): Promise<void> {
  await succeed(
    ...[
      'train',
      '--model',
      run.model,
      '--dataset',
      run.data,
      '--out',
      run.out,
      '--method',
      run.method,
    ],
    ...['--target-modules', run.targets.join(','), '--rank', '4', '--alpha', '12', '--seed', '1'],
    ...['--max-steps', '60', '--eval-samples', '0', '--threads', '1'],
    ...SETTINGS[run.method],
  );
}

/** Of a run's adapter. */
export async function bayesianizeRun(of: {
  readonly run: string;
  readonly method: 'tfb' | 'laplace';
  readonly out: string;
}): Promise<void> {
  const search = ['--anchors', '8', '--iterations', '2', '--tolerance', '10'];
  await succeed(
    ...['bayesianize', '--method', of.method, '--run', of.run, '--out', of.out],
    ...(of.method === 'tfb' ? search : ['--prior-precision', '1']),
    ...['--threads', '1'],
  );
}

/** Standard output and error of a command that must not fail. */
export async function succeed(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await bpeft(...args);
  if (code !== 0) throw new Error(`bpeft ${args.join(' ')} ended with ${code}:\n${stderr}`);
  return { stdout, stderr };
}

/** What `eval` says of the validation split at the posterior mean. */
export async function evaluatedNll(
  model: string,
  adapter: string,
  data: string,
): Promise<{ nll: number; stderr: string }> {
  const { stdout, stderr } = await succeed(
    ...['eval', '--model', model, '--adapter', adapter, '--dataset', data, '--split', 'validation'],
    ...['--samples', '0', '--threads', '1', '--json'],
  );
  return { nll: JSON.parse(stdout).metrics.nll, stderr };
}

/** The whole vocabulary's logits of the posterior mean, (B, V); of each member, (members·B, V). */
export async function meanLogits(
  adapter: Adapter,
  prompts: readonly Prompt[],
  vocabSize: number,
  members = 1,
): Promise<Logits> {
  const answers = Uint32Array.from({ length: vocabSize }, (_, token) => token);
  const batch = raggedBatch(prompts.map((prompt) => ({ ...prompt, answers })));
  const options = { samples: 0, noise: 'token', seed: 1, stochasticLayers: null } as const;
  const logits = await adapter.predict(batch, options);
  return Array.from({ length: members * prompts.length }, (_, row) =>
    Array.from(logits.subarray(row * vocabSize, (row + 1) * vocabSize)),
  );
}

/** Standard deviation of each answer's logit over samples of the head alone, (K). */
export async function logitSpread(
  adapter: Adapter,
  prompt: Prompt,
  samples: number,
): Promise<number[]> {
  const options = { samples, noise: 'token', seed: 1, stochasticLayers: 1 } as const;
  const logits = await adapter.predict(raggedBatch([prompt]), options);
  const classes = prompt.answers.length;
  return Array.from({ length: classes }, (_, answer) => {
    const values = Array.from(
      { length: samples },
      (_, sample) => logits[sample * classes + answer] ?? 0,
    );
    const mean = values.reduce((sum, value) => sum + value, 0) / samples;
    return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (samples - 1));
  });
}

/** Softmax over each prompt's own answers. */
export function answerProbs(logits: Logits, prompts: readonly Prompt[]): number[][] {
  return prompts.map(({ answers }, row) => {
    const own = Array.from(answers, (token) => logits[row]?.[token] ?? Number.NaN);
    const highest = Math.max(...own);
    const weights = own.map((logit) => Math.exp(logit - highest));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => weight / sum);
  });
}

/** −mean ln p of the right answers, nats. */
export function meanNll(probs: readonly (readonly number[])[], prompts: readonly Prompt[]): number {
  const terms = prompts.map(({ label }, row) => -Math.log(probs[row]?.[label] ?? Number.NaN));
  return terms.reduce((total, term) => total + term, 0) / terms.length;
}

/** max |Δ| as a part of the largest |logit| of `expected`. */
export function largestDifference(actual: Logits, expected: Logits): number {
  let [difference, scale] = [0, 0];
  expect(actual.map((row) => row.length)).toEqual(expected.map((row) => row.length));
  for (const [row, logits] of expected.entries()) {
    for (const [token, logit] of logits.entries()) {
      const gap = Math.abs((actual[row]?.[token] ?? Number.NaN) - logit);
      difference = Number.isNaN(gap) ? Number.POSITIVE_INFINITY : Math.max(difference, gap);
      scale = Math.max(scale, Math.abs(logit));
    }
  }
  return difference / scale;
}
