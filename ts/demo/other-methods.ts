/**
 * What the other methods give on the demonstration's rows, with its model and its schedule: the
 * committed table that `bpeft compare` made of `cmd/configs/exam-topics-methods.yaml`
 * (docs/results.md has the same). Running them all would take half an hour.
 */

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { assetPath } from '../assets.ts';

const mean = z.object({ mean: z.number() });

const Table = z.object({
  cells: z.array(
    z.object({
      method: z.string(),
      samples: z.number(),
      temperature: z.number().nullable(),
      split: z.string(),
      seeds: z.number(),
      metrics: z.object({ acc: mean, ece: mean, nll: mean, brier: mean }),
    }),
  ),
});

/** Means over the seeds of one method on one split. */
export interface OtherMethod {
  /** The row of the table. */
  readonly method: string;
  /** Passes behind an answer; 0: one, of the posterior mean. */
  readonly samples: number;
  readonly split: string;
  readonly seeds: number;
  readonly metrics: Readonly<Record<'acc' | 'ece' | 'nll' | 'brier', number>>;
}

/** @param shown the methods that the demonstration runs itself */
export function otherMethods(
  splits: readonly string[],
  shown: readonly string[],
): readonly OtherMethod[] {
  const { cells } = Table.parse(JSON.parse(readFileSync(assetPath('methods.json'), 'utf8')));
  const raw = cells.filter(({ temperature }) => temperature === null);
  return raw
    .filter((cell) => splits.includes(cell.split) && !shown.includes(cell.method))
    .filter(({ method, samples }) =>
      // Of a method with samples its answers are the mean over these.
      raw.every((other) => other.method !== method || other.samples <= samples),
    )
    .map(({ method, samples, split, seeds, metrics: { acc, ece, nll, brier } }) => ({
      ...{ method, samples, split, seeds },
      metrics: { acc: acc.mean, ece: ece.mean, nll: nll.mean, brier: brier.mean },
    }));
}
