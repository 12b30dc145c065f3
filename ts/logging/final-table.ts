/**
 * The end of a run for a terminal: its evaluations as a table, and the first one's reliability
 * diagram.
 */

import type { Metrics } from '../metrics/report.ts';
import { reliabilityLines } from '../report/reliability-diagram.ts';
import type { EvaluationResult } from '../run/records/result.ts';

const COLUMNS: readonly (readonly [key: keyof Metrics, heading: string])[] = [
  ['acc', 'ACC ↑'],
  ['ece', 'ECE ↓'],
  ['eceNoiseFloor', 'floor'],
  ['nll', 'NLL ↓'],
  ['brier', 'Brier ↓'],
  ['entropy', 'entropy'],
  ['mutualInformation', 'MI'],
];
const WIDTH = 9;

export function finalLines(evaluations: readonly EvaluationResult[]): readonly string[] {
  const [first] = evaluations;
  if (first === undefined) return [];
  const names = evaluations.map(({ dataset, split, samples }) => {
    return `${dataset} ${split}, ${samples === 0 ? 'mean' : `${samples} samples`}`;
  });
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const cells = (values: readonly string[]) => values.map((value) => value.padStart(WIDTH)).join('');
  return [
    `${' '.repeat(width)}${'rows'.padStart(6)}${cells(COLUMNS.map(([, heading]) => heading))}`,
    ...evaluations.map(({ n, metrics }, index) => {
      const values = COLUMNS.map(([key]) => metrics[key]?.toFixed(4) ?? '–');
      return `${(names[index] ?? '').padEnd(width)}${String(n).padStart(6)}${cells(values)}`;
    }),
    ...(first.reliability === null
      ? []
      : ['', ...reliabilityLines([{ name: names[0] ?? '', bins: first.reliability }])]),
  ];
}
