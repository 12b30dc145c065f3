/**
 * Winogrande: fill the gap `_` of a sentence with one of two options.
 *
 * Source: Sakaguchi et al., "WinoGrande: An Adversarial Winograd Schema Challenge at Scale" (arXiv
 * 1907.10641); CC BY. Rows `{id, sentence, option1, option2, answer: 1 | 2}`. Splits: train S 640,
 * train M 2558, validation 1267 (shared by both sizes).
 */

import { z } from 'zod';
import { winograndePair } from '../prompts/text-pair.ts';
import { type RowPlace, rowError } from '../rows/dataset-error.ts';
import { cellText } from '../rows/fields.ts';
import { type Item, letters } from '../rows/item.ts';
import type { DatasetEntry } from './entry.ts';
import { multipleChoiceTask } from './multiple-choice.ts';

const text = z.string('must be a text').min(1, 'must not be empty');

const WinograndeRow = z.looseObject(
  {
    id: cellText.optional(),
    sentence: text.refine((sentence) => sentence.includes('_'), 'must mark the gap with _'),
    option1: text,
    option2: text,
    answer: z.literal([1, 2, '1', '2', ''], 'must be 1 or 2').nullish(),
  },
  'must be an object',
);

/** @throws {BpeftError} `BPEFT_DATASET` with file, line and field. */
function winograndeItem(raw: unknown, row: number, place: RowPlace): Item {
  const parsed = WinograndeRow.safeParse(raw);
  if (!parsed.success) throw rowError(place, parsed.error, raw);
  const { id, sentence, option1, option2, answer, ...meta } = parsed.data;
  return {
    place,
    row,
    id: id ?? null,
    context: null,
    question: sentence,
    texts: [],
    choices: [option1, option2],
    labels: letters(2),
    answer: answer === undefined || answer === null || answer === '' ? null : Number(answer) - 1,
    meta,
  };
}

export const WINOGRANDE_TASK = multipleChoiceTask('winogrande', {
  classCount: 2,
  wording: { eos: true },
  pair: winograndePair,
  parse: winograndeItem,
});

function winogrande(size: 's' | 'm', trainRows: number): DatasetEntry {
  return {
    name: `winogrande_${size}`,
    title: `Winogrande, training set ${size.toUpperCase()}`,
    source: 'Sakaguchi et al. 2019, arXiv 1907.10641',
    licence: 'CC BY',
    family: 'winogrande',
    splits: {
      train: [`winogrande/train_${size}.jsonl`],
      validation: ['winogrande/validation.jsonl'],
    },
    sizes: { train: trainRows, validation: 1267 },
    trainSplit: 'train',
    defaultSplit: 'validation',
  };
}

export const WINOGRANDE: readonly DatasetEntry[] = [winogrande('s', 640), winogrande('m', 2558)];
