/**
 * As many posterior samples as a row seems to need: `--samples auto`.
 *
 * Rows are looked at after 16, 32, 64, 128 and 256 units (at most 256 samples); those that the
 * stopping rule calls steady drop out, the others go on in a smaller batch. A row that stops after
 * n samples has the answer of `--samples n`.
 */

import { raggedBatch } from '../../batches/ragged-batch.ts';
import type { EncodedExample } from '../../datasets/tokens/encode.ts';
import type { Adapter } from '../../engine/adapter.ts';
import { type Predictive, posteriorPredictive, softmax } from '../../metrics/predictive.ts';
import { type EvaluationSettings, predictionRow } from '../evaluation/evaluate-split.ts';
import type { PredictionRow } from '../records/prediction-files.ts';
import { isSteady, looksFor } from './stopping-rule.ts';

export interface AdaptiveRow extends PredictionRow {
  /** How many samples it took. */
  readonly samples: number;
  /** Whether the stopping rule ended it; false: still open after the last look. */
  readonly settled: boolean;
}

/** In the order of the examples. */
export async function predictAdaptively(
  adapter: Adapter,
  examples: readonly EncodedExample[],
  settings: Pick<EvaluationSettings, 'seed' | 'stochasticLayers' | 'sampling' | 'rule'>,
  signal: AbortSignal | undefined,
): Promise<AdaptiveRow[]> {
  const results: AdaptiveRow[] = [];
  let open = examples.map((example, index) => ({ example, index, logits: [] as Float32Array[] }));
  let done = 0;
  const perUnit = settings.sampling === 'antithetic' ? 2 : 1;
  const looks = looksFor(perUnit);
  for (const [at, look] of looks.entries()) {
    if (open.length === 0) break;
    const batch = raggedBatch(open.map(({ example }) => example));
    const { rule, ...draws } = settings;
    const { dropout, noise, link } = rule;
    const chunk = { samples: look * perUnit - done, firstSample: done };
    const options = { ...draws, dropout, noise, link, ...chunk };
    const logits = await adapter.predict(batch, options, { signal });
    done = look * perUnit;
    const width = batch.answers.length;
    for (const [row, { logits: ofRow }] of open.entries()) {
      for (let sample = 0; sample < options.samples; sample += 1) {
        const from = sample * width + (batch.answerOffsets[row] ?? 0);
        ofRow.push(logits.slice(from, sample * width + (batch.answerOffsets[row + 1] ?? 0)));
      }
    }
    const isLast = at === looks.length - 1;
    open = open.filter(({ example, index, logits: ofRow }) => {
      const isSettled = isSteady(
        ofRow.map((sample) => softmax(sample)),
        perUnit,
      );
      if (isSettled || isLast) {
        results[index] = {
          ...predictionRow(example, predictive(ofRow), 0),
          samples: done,
          settled: isSettled,
        };
      }
      return !isSettled;
    });
  }
  return results;
}

/** Of one row's samples. */
function predictive(logits: readonly Float32Array[]): Predictive {
  const classes = logits[0]?.length ?? 0;
  const all = new Float32Array(logits.length * classes);
  for (const [sample, row] of logits.entries()) all.set(row, sample * classes);
  return posteriorPredictive(all, Uint32Array.of(0, classes), logits.length);
}
