/**
 * Trains the same adapter twice, as a point estimate (MLE) and as a posterior (BLoB), and compares
 * how well each one's probabilities fit: NLL and calibration error, lower is better.
 *
 * In a checkout, after `npm run setup`, with Node 22.18 or later:   node examples/quickstart.ts
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TrainOptions, train } from 'bpeft';

/**
 * Model and data that ship with bpeft; put yours here (`npx bpeft demo` trains these for longer).
 */
const SETTINGS: TrainOptions = {
  model: 'builtin:tiny',
  dataset: 'builtin:exam-topics',
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
export async function compare(
  folder: string,
  settings: TrainOptions = SETTINGS,
): Promise<Comparison[]> {
  const rows: Comparison[] = [];
  for (const method of ['mle', 'blob'] as const) {
    const result = await train({
      ...settings,
      method,
      out: join(folder, method),
      evalSamples: [10, 0],
    });
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
