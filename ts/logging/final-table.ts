/**
 * The end of a run for a terminal: its evaluations as a table, and the first one's reliability
 * diagram. Measures that do not fit beside the others get lines of their own below.
 */

import type { Metrics } from '../metrics/report.ts';
import { reliabilityLines } from '../report/reliability-diagram.ts';
import { samplesText } from '../report/words.ts';
import type { EvaluationResult } from '../run/records/result.ts';
import { number } from './lines.ts';

const COLUMNS: readonly (readonly [key: keyof Metrics, heading: string])[] = [
  ['acc', 'ACC ↑'],
  ['ece', 'ECE ↓'],
  ['eceNoiseFloor', 'floor'],
  ['nll', 'NLL ↓'],
  ['brier', 'Brier ↓'],
  ['mcc', 'MCC ↑'],
  ['f1', 'F1 ↑'],
  ['macroF1', 'macro F1'],
  ['entropy', 'entropy'],
  ['mutualInformation', 'MI'],
];
const WIDTH = 9;
const ROWS_WIDTH = 6;

/** @param width of the terminal */
export function finalLines(
  evaluations: readonly EvaluationResult[],
  width: number,
): readonly string[] {
  const [first] = evaluations;
  if (first === undefined) return [];
  const shown = evaluations.flatMap((evaluation) => {
    const { dataset, split, n, metrics, scaled } = evaluation;
    const name = `${dataset} ${split}, ${samplesText(evaluation)}`;
    const under =
      scaled === null ? [] : [{ name: `${name}, T ${number(scaled.temperature)}`, n, ...scaled }];
    return [{ name, n, metrics }, ...under];
  });
  const names = shown.map(({ name }) => name);
  const nameWidth = Math.max(...names.map((name) => name.length)) + 1;
  const known = COLUMNS.filter(([key]) => evaluations.some(({ metrics }) => metrics[key] !== null));
  const fitting = Math.max(1, Math.floor((width - nameWidth - ROWS_WIDTH) / WIDTH));
  const cells = (values: readonly string[]) =>
    values.map((value) => value.padStart(WIDTH)).join('');
  const lines: string[] = [];
  for (let from = 0; from < known.length; from += fitting) {
    const columns = known.slice(from, from + fitting);
    const head = `${' '.repeat(nameWidth)}${'rows'.padStart(ROWS_WIDTH)}`;
    lines.push(`${head}${cells(columns.map(([, heading]) => heading))}`);
    for (const { name, n, metrics } of shown) {
      const values = columns.map(([key]) => metrics[key]?.toFixed(4) ?? '–');
      lines.push(`${name.padEnd(nameWidth)}${String(n).padStart(ROWS_WIDTH)}${cells(values)}`);
    }
  }
  if (first.reliability === null) return lines;
  return [...lines, '', ...reliabilityLines([{ name: names[0] ?? '', bins: first.reliability }])];
}
