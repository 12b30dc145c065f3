/**
 * What an evaluation measured beyond the summary, as rows of a table: the same in HTML and
 * Markdown.
 */

import type { EvaluationReport } from './run-report.ts';
import { evaluationName, valueText } from './words.ts';

export interface MeasureTable {
  /** `measure`, then the evaluations. */
  readonly headings: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Null where nothing further was recorded. */
export function furtherMeasures(evaluations: readonly EvaluationReport[]): MeasureTable | null {
  const columns = evaluations.map(measuresOf);
  const ids = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  if (ids.length === 0) return null;
  return {
    headings: ['measure', ...evaluations.map(evaluationName)],
    rows: ids.map((id) => [id, ...columns.map((column) => valueText(column.get(id) ?? null))]),
  };
}

/** By their ids; those of detection name the split that the rows are told from. */
export function measuresOf({ further, detection }: EvaluationReport): Map<string, number | null> {
  const all = new Map(Object.entries(further));
  if (detection === null) return all;
  const { dataset, split } = detection.against;
  for (const measure of ['auroc', 'fpr95'] as const) {
    for (const [score, value] of Object.entries(detection[measure])) {
      all.set(`${measure}_${score} against ${dataset} ${split}`, value);
    }
  }
  return all;
}
