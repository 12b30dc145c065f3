/** A comparison as a table for a terminal of 100 columns. */

import type { Interval } from '../metrics/bootstrap.ts';
import { COMPARED_METRICS, type ComparedDetection, type ComparedSplit } from './comparison.ts';

const HEADINGS = { acc: 'ACC ↑', ece: 'ECE ↓', nll: 'NLL ↓', brier: 'Brier ↓' } as const;
const NAME_WIDTH = 16;
const CELL_WIDTH = 21;

export function splitLines({ split, n, methods }: ComparedSplit): readonly string[] {
  return [
    line(
      `${split} (${n} rows)`,
      COMPARED_METRICS.map((metric) => HEADINGS[metric]),
    ),
    ...methods.map(({ name, metrics }) =>
      line(
        `  ${name}`,
        COMPARED_METRICS.map((metric) => cell(metrics[metric])),
      ),
    ),
  ];
}

export function detectionLines({ inside, outside, methods }: ComparedDetection): readonly string[] {
  const title = `${outside.split} (${outside.n} rows)`;
  return [
    `${line(title, ['AUROC ↑'])}  of the entropy: ${outside.split} against ${inside.split}`,
    ...methods.map(({ name, auroc }) => line(`  ${name}`, [cell(auroc)])),
  ];
}

/** Each later method against the first, paired on the same rows. */
export function differenceLines({ split, methods }: ComparedSplit): readonly string[] {
  const [first] = methods;
  return methods.flatMap(({ name, difference }) => {
    if (difference === null || first === undefined) return [];
    const shown = (['nll', 'ece'] as const).map(
      (metric) => `${metric.toUpperCase()} ${signedCell(difference[metric])}`,
    );
    return [`${name} minus ${first.name} on ${split}: ${shown.join(', ')}`];
  });
}

function line(name: string, cells: readonly string[]): string {
  return `${name.padEnd(NAME_WIDTH)}${cells.map((text) => text.padStart(CELL_WIDTH)).join('')}`;
}

function cell({ value, lower, upper }: Interval): string {
  return `${value.toFixed(3)} (${lower.toFixed(3)}–${upper.toFixed(3)})`;
}

function signedCell({ value, lower, upper }: Interval): string {
  return `${signed(value)} (${signed(lower)} to ${signed(upper)})`;
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
}
