import { expect, it } from 'vitest';
import type { RaggedBatch } from '../../../../ts/batches/ragged-batch.ts';
import type { EncodedExample } from '../../../../ts/datasets/tokens/encode.ts';
import type { Adapter, PredictiveOptions } from '../../../../ts/engine/adapter.ts';
import { posteriorPredictive } from '../../../../ts/metrics/predictive.ts';
import { predictAdaptively } from '../../../../ts/run/prediction/adaptive.ts';

const example = (row: number) => ({ row, id: null, label: 0, ids: [row + 1], answers: [2, 3] });
/**
 * The first logit of a sample: row 0 hardly spreads, row 1 much, row 2 in a way that pairs cancel.
 */
const logit = (row: number, sample: number) => {
  const sign = sample % 2 === 0 ? 1 : -1;
  const turn = Math.floor(sample / 2) % 2 === 0 ? 1 : -1;
  return [2 + 0.01 * sign, 0.2 + 3 * sign * turn + 2 * turn, 0.5 * sign][row] ?? Number.NaN;
};

it.each([
  [
    'antithetic',
    [32, 256, 32],
    [true, false, true],
    [
      [3, 0, 32],
      [1, 32, 32],
      [1, 64, 64],
      [1, 128, 128],
    ],
  ],
  [
    'plain',
    [16, 256, 256],
    [true, false, false],
    [
      [3, 0, 16],
      [2, 16, 16],
      [2, 32, 32],
      [2, 64, 64],
      [2, 128, 128],
    ],
  ],
] as const)(
  'draws on for the rows that are open, and gives each the answer of its own N: %s',
  async (sampling, samples, settled, expected) => {
    const calls: number[][] = [];
    const predict = async (
      batch: RaggedBatch,
      { samples: count, firstSample = 0 }: PredictiveOptions,
    ) => {
      const rows = batch.answerOffsets.length - 1;
      calls.push([rows, firstSample, count]);
      const logits = new Float32Array(count * rows * 2);
      for (let at = 0; at < count * rows; at += 1) {
        const row = (batch.ids[at % rows] ?? 0) - 1;
        logits[at * 2] = logit(row, firstSample + Math.floor(at / rows));
      }
      return logits;
    };
    const rule = { dropout: 0, average: 'probabilities', noise: 'token' } as const;
    const settings = { sampling, seed: 1, stochasticLayers: null, rule } as const;
    const examples = [0, 1, 2].map((row) => example(row) as unknown as EncodedExample);
    const found = await predictAdaptively(
      { predict } as unknown as Adapter,
      examples,
      settings,
      undefined,
    );
    expect(calls).toEqual(expected);
    expect(found.map((row) => row.samples)).toEqual(samples);
    expect(found.map((row) => row.settled)).toEqual(settled);
    for (const [row, { probs, samples: count }] of found.entries()) {
      const logits = Float32Array.from({ length: 2 * count }, (_, at) =>
        at % 2 === 0 ? logit(row, at / 2) : 0,
      );
      const [fixed] = posteriorPredictive(logits, Uint32Array.of(0, 2), count).probs;
      expect(probs).toEqual([...(fixed ?? [])]);
    }
  },
);
