/**
 * BoolQ: a yes/no question about a passage.
 *
 * Source: Clark et al., "BoolQ: Exploring the Surprising Difficulty of Natural Yes/No Questions"
 * (arXiv 1905.10044); CC BY-SA 3.0. Rows `{question, passage, answer: boolean}`.
 * Splits: train 9427, validation 3270.
 *
 * The item's choices are `true` and `false`, in this order: a true answer is choice 0.
 */

import { z } from 'zod';
import { correctedBoolq } from '../prompts/corrected.ts';
import { referenceBoolq } from '../prompts/reference.ts';
import { type RowPlace, rowError } from '../rows/dataset-error.ts';
import { cellText } from '../rows/fields.ts';
import type { Item } from '../rows/item.ts';
import type { DatasetEntry } from './entry.ts';
import type { Task } from './task.ts';

const BOOLQ_WORDS = ['true', 'false'] as const;

const BoolqRow = z.looseObject(
  {
    id: cellText.optional(),
    question: z.string('must be a text').min(1, 'must not be empty'),
    passage: z.string('must be a text'),
    answer: z.boolean('must be true or false').nullish(),
  },
  'must be an object',
);

/** @throws {BpeftError} `BPEFT_DATASET` with file, line and field. */
function boolqItem(raw: unknown, row: number, place: RowPlace): Item {
  const parsed = BoolqRow.safeParse(raw);
  if (!parsed.success) throw rowError(place, parsed.error, raw);
  const { id, question, passage, answer, ...meta } = parsed.data;
  return {
    place,
    row,
    id: id ?? null,
    context: passage,
    question,
    texts: [],
    choices: BOOLQ_WORDS,
    labels: BOOLQ_WORDS,
    answer: answer === undefined || answer === null ? null : answer ? 0 : 1,
    meta,
  };
}

export const BOOLQ_TASK: Task = {
  family: 'boolq',
  kind: 'multiple-choice',
  answerFields: ['answer'],
  item: boolqItem,
  classCount: BOOLQ_WORDS.length,
  plan: (item, _, template) =>
    template === 'reference' ? referenceBoolq(item) : correctedBoolq(item),
  pair: ({ context, question }) => ({ first: context ?? '', second: question }),
  // `true`; the reference takes the truth value as the class
  positive: (template, reader) => (template === 'reference' && reader === 'prompt' ? 1 : 0),
  names: ({ labels }) => labels,
};

export const BOOLQ: readonly DatasetEntry[] = [
  {
    name: 'boolq',
    title: 'BoolQ, yes/no questions about passages',
    source: 'Clark et al. 2019, arXiv 1905.10044',
    licence: 'CC BY-SA 3.0',
    family: 'boolq',
    splits: { train: ['boolq/train.jsonl'], validation: ['boolq/validation.jsonl'] },
    sizes: { train: 9427, validation: 3270 },
    trainSplit: 'train',
    defaultSplit: 'validation',
  },
];
