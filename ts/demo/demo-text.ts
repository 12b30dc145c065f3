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
    `Look closer:        npx bpeft eval --run ${runs.blob} --split test,shift --samples 10,0`,
    'Use your own data:  npx bpeft train --model builtin:tiny --dataset ./my-data --dry-run',
  ];
}
