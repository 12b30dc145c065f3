/**
 * Numbers that others published, to stand beside ours; fractions.
 *
 * `assets/published.json` holds only what was checked against its source. The table of the BLoB
 * paper itself (arXiv 2406.11675) is not there: it has yet to be checked cell by cell.
 */

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { assetPath } from '../assets.ts';

export interface PublishedNumber {
  readonly metric: 'acc' | 'ece';
  readonly value: number;
  readonly source: string;
}

const Published = z.object({
  /** Pattern of the model's name. */
  model: z.string(),
  datasets: z.array(z.string()),
  source: z.string(),
  /** method → metric → values in the order of `datasets`. */
  percent: z.record(z.string(), z.object({ acc: z.array(z.number()), ece: z.array(z.number()) })),
});

/** Empty where nothing comparable is known. */
export function publishedNumbers(method: string, model: string, dataset: string): PublishedNumber[] {
  const published = Published.parse(JSON.parse(readFileSync(assetPath('published.json'), 'utf8')));
  if (!new RegExp(published.model, 'i').test(model)) return [];
  const column = published.datasets.indexOf(dataset);
  const rows = published.percent[method];
  return (['acc', 'ece'] as const).flatMap((metric) => {
    const value = rows?.[metric][column];
    return value === undefined ? [] : [{ metric, value: value / 100, source: published.source }];
  });
}
