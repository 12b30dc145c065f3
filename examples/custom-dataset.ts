/**
 * Your own rows: writes a classification dataset, trains on it, and answers new texts, or says that
 * it would rather not. An answer is withheld when its probability is low; a large epistemic share
 * then says that more training rows of this kind would help, a small one that the text itself is
 * ambiguous.
 *
 * In a checkout, after `npm run setup`, with Node 22.18 or later:   node examples/custom-dataset.ts
 */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPredictor, type TrainOptions, train } from 'bpeft';

/** The embedded model has read little, and nine rows teach it little: put your model here. */
const SETTINGS = { model: 'builtin:tiny', maxSteps: 20 } as const;

const ROWS = {
  train: [
    { text: 'The parcel never came.', label: 'complaint' },
    { text: 'The second delivery was broken too.', label: 'complaint' },
    { text: 'Where do I change my address?', label: 'question' },
    { text: 'Do you ship to Norway?', label: 'question' },
    { text: 'Best service I have had in years.', label: 'praise' },
    { text: 'Thank you, it arrived a day early!', label: 'praise' },
  ],
  validation: [
    { text: 'My invoice is wrong again.', label: 'complaint' },
    { text: 'When does the shop open?', label: 'question' },
    { text: 'Lovely packaging.', label: 'praise' },
  ],
};

/** Below this probability no answer is given. */
const ANSWER_FROM = 0.6;

export interface Triage {
  readonly text: string;
  /** Null: abstained. */
  readonly answer: string | null;
  readonly confidence: number;
  /** Share of the uncertainty on which the posterior samples disagree, 0 to 1. */
  readonly epistemic: number;
}

/** @param folder for the rows and the run */
export async function triage(
  folder: string,
  texts: readonly string[],
  settings: Omit<TrainOptions, 'dataset' | 'out'> = SETTINGS,
): Promise<Triage[]> {
  const dataset = join(folder, 'letters');
  await mkdir(dataset, { recursive: true });
  for (const [split, rows] of Object.entries(ROWS)) {
    const lines = rows.map((row) => `${JSON.stringify(row)}\n`);
    await writeFile(join(dataset, `${split}.jsonl`), lines.join(''));
  }
  const run = join(folder, 'run');
  await train({ ...settings, method: 'blob', dataset, out: run });

  const predictor = await openPredictor({ run, samples: 10 });
  try {
    const predictions = await predictor.predict(texts.map((text) => ({ text })));
    return predictions.map(({ row, prediction, probs, entropy, mutualInformation }) => {
      const confidence = Math.max(...probs);
      return {
        text: texts[row] ?? '',
        answer: confidence >= ANSWER_FROM ? prediction : null,
        confidence,
        epistemic: entropy === 0 ? 0 : (mutualInformation ?? 0) / entropy,
      };
    });
  } finally {
    await predictor.dispose();
  }
}

if (process.argv[1] === import.meta.filename) {
  const folder = await mkdtemp(join(tmpdir(), 'bpeft-letters-'));
  try {
    console.table(await triage(folder, ['Nobody answers the phone.', 'Is this the right form?']));
  } finally {
    await rm(folder, { recursive: true });
  }
}
