/** `predictions/*.jsonl` of a run folder: every evaluated row with its probabilities. */

import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { io, replaceFile } from './atomic.ts';
import { fileJson, fromFileJson } from './json.ts';
import type { EvaluationResult } from './result.ts';

/** One line of `predictions/*.jsonl`, there in `snake_case`. */
export interface PredictionRow {
  readonly row: number;
  readonly id?: string;
  /** Index of the gold class among the row's own; null without one. */
  readonly label: number | null;
  readonly probs: readonly number[];
  /** Of the mean probabilities, nats. */
  readonly entropy: number;
  /** Entropy of the mean minus mean entropy, nats; null below 2 samples. */
  readonly mutualInformation: number | null;
  /** Each sample's probabilities, with `saveSamples`. */
  readonly sampleProbs?: readonly (readonly number[])[];
}

export type PredictionKey = Pick<EvaluationResult, 'dataset' | 'split' | 'samples'>;

/** `<dataset>-<split>-n<samples>.jsonl` */
function fileName({ dataset, split, samples }: PredictionKey): string {
  return `${`${dataset}-${split}-n${samples}`.replace(/[^A-Za-z0-9._-]+/g, '-')}.jsonl`;
}

/** Whether {@link writePredictions} gives files such names. */
export function isPredictionFile(name: string): boolean {
  return /^.+-n\d+\.jsonl$/.test(name);
}

/** Whole or not at all. */
export async function writePredictions(
  folder: string,
  { result, rows }: { result: PredictionKey; rows: readonly PredictionRow[] },
): Promise<void> {
  await io(folder, () => mkdir(folder, { recursive: true }));
  await replaceFile(join(folder, fileName(result)), linesOf(rows));
}

/** Lines that are made at once, before others get their turn. */
const SLICE = 256;

async function* linesOf(rows: readonly PredictionRow[]): AsyncGenerator<string> {
  for (let start = 0; start < rows.length; start += SLICE) {
    const slice = rows.slice(start, start + SLICE);
    yield slice.map((row) => `${fileJson(row)}\n`).join('');
  }
}

/** @throws {BpeftError} `BPEFT_IO`: there is no such file. */
export async function readPredictions(
  folder: string,
  key: PredictionKey,
): Promise<PredictionRow[]> {
  const path = join(folder, fileName(key));
  const text = await io(path, () => readFile(path, 'utf8'));
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => fromFileJson(line) as PredictionRow);
}
