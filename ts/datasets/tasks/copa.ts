/**
 * COPA: which of two alternatives is the cause or the effect of a premise.
 *
 * Source: Roemmele et al., "Choice of Plausible Alternatives" (2011), as in SuperGLUE; BSD
 * 2-clause. Rows `{premise, choice1, choice2, question: "cause" | "effect", label: 0 | 1}`. Splits:
 * train 400, validation 100.
 */

import { z } from 'zod';
import { type RowPlace, rowError } from '../rows/dataset-error.ts';
import { cellText, filledText } from '../rows/fields.ts';
import { type Item, letters } from '../rows/item.ts';
import type { DatasetEntry } from './entry.ts';
import { multipleChoiceTask } from './multiple-choice.ts';
import type { Task } from './task.ts';

const QUESTIONS = { cause: 'What was the cause?', effect: 'What happened as a result?' } as const;

const CopaRow = z.looseObject(
  {
    premise: filledText,
    choice1: filledText,
    choice2: filledText,
    question: z.enum(['cause', 'effect'], 'must be cause or effect'),
    label: z.coerce
      .number('must be 0 or 1')
      .int('must be 0 or 1')
      .min(-1, 'must be 0 or 1')
      .max(1, 'must be 0 or 1')
      .nullish(),
    id: cellText.optional(),
  },
  'must be an object',
);

function copaItem(raw: unknown, row: number, place: RowPlace): Item {
  const parsed = CopaRow.safeParse(raw);
  if (!parsed.success) throw rowError(place, parsed.error, raw);
  const { premise, choice1, choice2, question, label, id, ...meta } = parsed.data;
  return {
    place,
    row,
    id: id ?? null,
    context: null,
    question: `${premise} ${QUESTIONS[question]}`,
    texts: [],
    choices: [choice1, choice2],
    labels: letters(2),
    answer: label === undefined || label === null || label < 0 ? null : label,
    meta,
  };
}

export const COPA_TASK: Task = {
  ...multipleChoiceTask('copa', { classCount: 2, parse: copaItem }),
  answerFields: ['label'],
};

export const COPA: readonly DatasetEntry[] = [
  {
    name: 'copa',
    title: 'Choice of Plausible Alternatives',
    source: 'Roemmele et al. 2011',
    licence: 'BSD 2-clause',
    family: 'copa',
    splits: { train: ['copa/train.jsonl'], validation: ['copa/validation.jsonl'] },
    sizes: { train: 400, validation: 100 },
    trainSplit: 'train',
    defaultSplit: 'validation',
  },
];
