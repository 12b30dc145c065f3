/**
 * Trains the same adapter twice, as a point estimate (MLE) and as a posterior (BLoB), and compares how well each
 * one's probabilities fit: NLL and calibration error, lower is better.
 *
 * In a checkout, after `npm run setup`, with Node 22.18 or later:   node examples/quickstart.ts
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type TrainOptions, train } from 'bpeft';

/** A random model learns nothing: it shows the way. Put your model and your data here. */
const SETTINGS: TrainOptions = {
  model: 'builtin:random',
  dataset: 'ARC-Easy',
  dataDir: fileURLToPath(new URL('../test/fixtures/data', import.meta.url)),
  maxSeqLen: 1000, // the random model's tokenizer makes a token of every byte
  maxSteps: 50,
  lr: 1e-3,
};

export interface Comparison {
  readonly method: 'mle' | 'blob';
  /** Posterior samples; 0 is one pass with the posterior mean. */
  readonly samples: number;
  readonly nll: number | null;
  readonly ece: number | null;
}

/** @param folder where the two runs are written */
export async function compare(folder: string, settings: TrainOptions = SETTINGS): Promise<Comparison[]> {
  const rows: Comparison[] = [];
  for (const method of ['mle', 'blob'] as const) {
    const result = await train({ ...settings, method, out: join(folder, method), evalSamples: [10, 0] });
    for (const { samples, metrics } of result.evaluations) {
      rows.push({ method, samples, nll: metrics.nll, ece: metrics.ece });
    }
  }
  return rows;
}

if (process.argv[1] === import.meta.filename) {
  const folder = await mkdtemp(join(tmpdir(), 'bpeft-quickstart-'));
  try {
    console.table(await compare(folder));
  } finally {
    await rm(folder, { recursive: true });
  }
}
