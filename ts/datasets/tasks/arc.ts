/**
 * ARC: science questions of school exams, the easy and the challenge set.
 *
 * Source: Clark et al., "Think you have Solved Question Answering? Try ARC" (arXiv 1803.05457); CC
 * BY-SA 4.0. Rows `{id, question, choices, labels, answer: index}`; 3 to 5 choices, some labelled
 * `1` to `4`. Splits: Easy 2251 / 570 / 2376, Challenge 1119 / 299 / 1172 (train / validation /
 * test).
 */

import type { DatasetEntry } from './entry.ts';
import { multipleChoiceTask } from './multiple-choice.ts';

export const ARC_TASK = multipleChoiceTask('arc', {
  classCount: 5,
  wording: { lines: 'text-first' },
});

function arc(
  set: 'Easy' | 'Challenge',
  train: number,
  validation: number,
  test: number,
): DatasetEntry {
  const folder = `arc_${set.toLowerCase()}`;
  return {
    name: `ARC-${set}`,
    title: `AI2 Reasoning Challenge, ${set} set`,
    source: 'Clark et al. 2018, arXiv 1803.05457',
    licence: 'CC BY-SA 4.0',
    family: 'arc',
    splits: {
      train: [`${folder}/train.jsonl`],
      validation: [`${folder}/validation.jsonl`],
      test: [`${folder}/test.jsonl`],
    },
    sizes: { train, validation, test },
    trainSplit: 'train',
    defaultSplit: 'validation',
  };
}

export const ARC: readonly DatasetEntry[] = [
  arc('Easy', 2251, 570, 2376),
  arc('Challenge', 1119, 299, 1172),
];
