/** Methods by datasets, one table for each metric, as texts: the same in HTML and Markdown. */

import type { ComparedCell } from './compared-cells.ts';
import { REPORTED_METRICS } from './run-report.ts';
import { METRIC_HEADINGS, samplesText, seedsText, valueText } from './words.ts';

export interface MethodTables {
  readonly tables: readonly {
    readonly title: string;
    readonly headings: readonly string[];
    readonly rows: readonly (readonly string[])[];
  }[];
  /** Of published numbers; the first one is `[1]` in the tables. */
  readonly sources: readonly string[];
}

/** Null where there is nothing to compare: one method, and no published number. */
export function methodTables(cells: readonly ComparedCell[]): MethodTables | null {
  const sources = [
    ...new Set(cells.flatMap(({ published }) => published.map(({ source }) => source))),
  ];
  const methods = [...new Set(cells.map(rowName))];
  if (methods.length < 2 && sources.length === 0) return null;
  const splits = [...new Set(cells.map(({ dataset, split }) => `${dataset} ${split}`))];
  const tables = REPORTED_METRICS.map((metric) => {
    const cellText = (name: string, at: string): string => {
      const cell = cells.find(
        (one) => rowName(one) === name && `${one.dataset} ${one.split}` === at,
      );
      if (cell === undefined) return '–';
      const others = cell.published
        .filter((number) => number.metric === metric)
        .map(({ value, source }) => `${valueText(value)} [${sources.indexOf(source) + 1}]`);
      const ours = seedsText(cell, metric);
      return others.length === 0 ? ours : `${ours}; published ${others.join(', ')}`;
    };
    return {
      title: METRIC_HEADINGS[metric],
      headings: ['method', ...splits],
      rows: methods.map((name) => [name, ...splits.map((at) => cellText(name, at))]),
    };
  });
  return { tables, sources };
}

function rowName(cell: ComparedCell): string {
  const { method, model, temperature, dataset, trainedOn } = cell;
  const scaled = temperature === null ? '' : ', temperature-scaled';
  const elsewhere = trainedOn === null || trainedOn === dataset ? '' : `, trained on ${trainedOn}`;
  return `${method}, ${samplesText(cell)}${scaled} · ${model}${elsewhere}`;
}
