/**
 * Numbers that others published, to stand beside ours; fractions and nats.
 *
 * `assets/published.json` holds only what was read in its source, or in a text that quotes it, and
 * then says so. Accuracies and ECEs are percents there, as papers print them. The main table of the
 * BLoB paper (arXiv 2406.11675) is not among them: it has yet to be checked cell by cell.
 */

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { assetPath } from '../assets.ts';

export const PUBLISHED_METRICS = ['acc', 'ece', 'nll', 'brier'] as const;

export interface PublishedNumber {
  readonly metric: (typeof PUBLISHED_METRICS)[number];
  readonly value: number;
  readonly source: string;
}

/** In the order of the table's datasets. */
const values = z.array(z.number().nullable()).optional();

const Published = z.object({
  tables: z.array(
    z.object({
      source: z.string(),
      /** Pattern of the model's name. */
      model: z.string(),
      /** Null: each dataset's own training split. */
      trainedOn: z.string().nullable(),
      datasets: z.array(z.string()),
      rows: z.array(
        z.object({
          method: z.string(),
          /** Of answers drawn from a posterior, not of its mean. */
          isSampled: z.boolean().default(false),
          ...{ acc: values, ece: values, nll: values, brier: values },
        }),
      ),
    }),
  ),
});

export interface PublishedPlace {
  readonly method: string;
  readonly model: string;
  readonly samples: number;
  readonly dataset: string;
  /** Null: unknown. */
  readonly trainedOn: string | null;
}

/** Empty where nothing comparable is known. */
export function publishedNumbers(place: PublishedPlace): PublishedNumber[] {
  const { method, model, samples, dataset, trainedOn } = place;
  const { tables } = Published.parse(JSON.parse(readFileSync(assetPath('published.json'), 'utf8')));
  return tables
    .filter(
      (table) =>
        new RegExp(table.model, 'i').test(model) && trainedOn === (table.trainedOn ?? dataset),
    )
    .flatMap(({ source, datasets, rows }) => {
      const column = datasets.indexOf(dataset);
      const row = rows.find((one) => one.method === method && (samples > 0 || !one.isSampled));
      return PUBLISHED_METRICS.flatMap((metric) => {
        const value = row?.[metric]?.[column] ?? null;
        if (value === null) return [];
        return [{ metric, value: isPercent(metric) ? value / 100 : value, source }];
      });
    });
}

function isPercent(metric: PublishedNumber['metric']): boolean {
  return metric === 'acc' || metric === 'ece';
}
