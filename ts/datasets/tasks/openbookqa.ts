/**
 * OpenBookQA: elementary science questions with four choices; the supporting fact is kept as meta
 * data.
 *
 * Source: Mihaylov et al., "Can a Suit of Armor Conduct Electricity?" (arXiv 1809.02789);
 * Apache-2.0. Rows `{id, question, choices, labels, answer: index, fact}`. Splits: train 4957,
 * validation 500, test 500.
 */

import type { DatasetEntry } from './entry.ts';
import { multipleChoiceTask } from './multiple-choice.ts';

export const OPENBOOKQA_TASK = multipleChoiceTask('openbookqa', {
  classCount: 4,
  wording: { lines: 'text-first', heading: 'Chioces:' },
});

export const OPENBOOKQA: readonly DatasetEntry[] = [
  {
    name: 'obqa',
    title: 'OpenBookQA, main set',
    source: 'Mihaylov et al. 2018, arXiv 1809.02789',
    licence: 'Apache-2.0',
    family: 'openbookqa',
    splits: {
      train: ['openbookqa/train.jsonl'],
      validation: ['openbookqa/validation.jsonl'],
      test: ['openbookqa/test.jsonl'],
    },
    sizes: { train: 4957, validation: 500, test: 500 },
    trainSplit: 'train',
    defaultSplit: 'validation',
  },
];
