/** The demonstration's outcome for a terminal. */

import { detectionLines, differenceLines, splitLines } from '../report/comparison-text.ts';
import { reliabilityLines } from '../report/reliability-diagram.ts';
import type { DemoResult } from './demo.ts';

export function demoLines(result: DemoResult): readonly string[] {
  const { splits, detection, runs } = result;
  const shown = splits.at(-1);
  const methods = shown?.methods ?? [];
  const ends = [methods[0], methods.at(-1)].filter((method) => method !== undefined);
  return [
    'Which field does an exam question belong to? test: unseen questions; shift: unseen subjects of the same',
    'fields; ood: questions of other fields. In brackets: 95 % bootstrap intervals over the rows.',
    '',
    ...splits.flatMap((split) => [...splitLines(split), '']),
    ...detectionLines(detection),
    '',
    ...splits.flatMap((split) => differenceLines(split).slice(-1)),
    '',
    `Reliability on ${shown?.split ?? ''}`,
    ...reliabilityLines(ends.map(({ name, reliability }) => ({ name, bins: reliability }))),
    '',
    ...otherLines(result),
    '',
    `Look closer:        npx bpeft eval --run ${runs.blob} --split test,shift --samples 10,0`,
    'Use your own data:  npx bpeft train --model builtin:tiny --dataset ./my-data --dry-run',
  ];
}

const NAME_WIDTH = 24;

/** A line for each of the other methods, with a column for each measure on each split. */
function otherLines({ others, splits }: DemoResult): readonly string[] {
  const names = [...new Set(others.map(({ method }) => method))];
  const measures = ['acc', 'ece', 'nll'] as const;
  const headings = splits.map(({ split }) => `${split}:    ACC    ECE    NLL`);
  const seeds = others[0]?.seeds ?? 0;
  const basis = seeds === 1 ? 'one seed' : `means over ${seeds} seeds`;
  return [
    `What other methods give with this schedule (${basis}; docs/results.md)`,
    ['  method'.padEnd(NAME_WIDTH), ...headings.map((text) => text.padStart(30))].join(''),
    ...names.map((name) => {
      const cells = splits.map(({ split }) => {
        const found = others.find((one) => one.method === name && one.split === split);
        const values = measures.map((measure) => found?.metrics[measure].toFixed(3) ?? '');
        return values.map((text) => text.padStart(7)).join('');
      });
      const samples = others.find((one) => one.method === name)?.samples ?? 0;
      const title = samples === 0 ? name : `${name}, N = ${samples}`;
      return [`  ${title}`.padEnd(NAME_WIDTH), ...cells.map((text) => text.padStart(30))].join('');
    }),
  ];
}
