/** Multiple choice: one's own rows, and what the published sets of that kind change about it. */

import { correctedChoice } from '../prompts/corrected.ts';
import { type ReferenceWording, referenceChoice } from '../prompts/reference.ts';
import { choicePair } from '../prompts/text-pair.ts';
import type { RowPlace } from '../rows/dataset-error.ts';
import type { Item, TaskFamily } from '../rows/item.ts';
import { multipleChoiceItem } from '../rows/multiple-choice.ts';
import type { Task } from './task.ts';

interface Variant {
  /** Where the reference takes one number for all rows. */
  readonly classCount?: number;
  readonly wording?: Partial<ReferenceWording>;
  /** What an encoder reads. */
  readonly pair?: Task['pair'];
  readonly parse?: (raw: unknown, row: number, place: RowPlace) => Item;
}

const WORDING: ReferenceWording = { lines: 'letter-first', heading: 'Choices:', eos: false };

export function multipleChoiceTask(family: TaskFamily, variant: Variant = {}): Task {
  const { classCount = null, wording, pair = choicePair, parse = multipleChoiceItem } = variant;
  return {
    family,
    kind: 'multiple-choice',
    answerFields: ['answer', 'answerKey'],
    item: parse,
    classCount,
    plan: (item, competing, template) =>
      template === 'reference'
        ? referenceChoice(item, competing, { ...WORDING, ...wording })
        : correctedChoice(item, competing),
    pair,
    names: ({ labels }) => labels,
  };
}

export const MULTIPLE_CHOICE = multipleChoiceTask('multiple-choice');
