/**
 * Rows of multiple choice: `{question | prompt, choices[], answer, labels?, id?, context?}`.
 *
 * `answer` is a 0-based index or one of the labels (`A`, `B`, … where the row has none); a string that is no
 * label but a whole number, as CSV has them, is an index. Fields of other names become the item's meta data.
 */

import { z } from 'zod';
import { ROW_FORMS, type RowPlace, rowError } from './dataset-error.ts';
import { type Item, letters, MAX_CLASSES } from './item.ts';

const text = z.string('must be a text').refine((value) => value.trim() !== '', 'must not be empty');

export const rowId = z
  .union([z.string(), z.number()], 'must be a text or a number')
  .transform(String)
  .nullish();

const MultipleChoiceRow = z
  .looseObject(
    {
      question: text.optional(),
      prompt: text.optional(),
      context: z.string('must be a text').nullish(),
      choices: z
        .array(text, 'must be a list of texts')
        .min(2, 'needs at least 2 choices')
        .max(MAX_CLASSES, `holds more choices than there are letters (${MAX_CLASSES})`),
      labels: z.array(text, 'must be a list of texts').optional(),
      answer: z.union([z.int(), z.string()], 'must be an index or a label').nullish(),
      id: rowId,
    },
    'must be an object',
  )
  .superRefine((row, context) => {
    const fail = (field: string, message: string): void => {
      context.addIssue({ code: 'custom', path: [field], message });
    };
    if (row.question === undefined && row.prompt === undefined) fail('question', 'is required (or prompt)');
    if (row.question !== undefined && row.prompt !== undefined)
      fail('prompt', 'stands beside question; keep one of them');
    const labels = row.labels ?? letters(row.choices.length);
    if (labels.length !== row.choices.length) fail('labels', `must be ${row.choices.length}, one per choice`);
    else if (new Set(labels).size !== labels.length) fail('labels', 'must differ from each other');
    if (row.answer !== undefined && row.answer !== null && row.answer !== '') {
      const complaint = complaintAboutAnswer(row.answer, labels);
      if (complaint !== null) fail('answer', complaint);
    }
  });

/** @throws {BpeftError} `BPEFT_DATASET` with file, line and field. */
export function multipleChoiceItem(raw: unknown, row: number, place: RowPlace): Item {
  const parsed = MultipleChoiceRow.safeParse(raw);
  if (!parsed.success) throw rowError(place, parsed.error, raw, ROW_FORMS);
  const { question, prompt, context, choices, labels: given, answer, id, ...meta } = parsed.data;
  const labels = given ?? letters(choices.length);
  return {
    row,
    id: id ?? null,
    context: context === undefined || context === null || context.trim() === '' ? null : context,
    question: question ?? prompt ?? '',
    texts: [],
    choices,
    labels,
    answer: answer === undefined || answer === null || answer === '' ? null : answerIndex(answer, labels),
    meta,
  };
}

function answerIndex(answer: number | string, labels: readonly string[]): number {
  if (typeof answer === 'number') return answer;
  const index = labels.indexOf(answer);
  return index >= 0 ? index : Number(answer);
}

function complaintAboutAnswer(answer: number | string, labels: readonly string[]): string | null {
  if (typeof answer === 'string' && !labels.includes(answer) && !/^\d+$/.test(answer))
    return `is not among the labels ${labels.join(', ')}`;
  const index = answerIndex(answer, labels);
  if (index < 0 || index >= labels.length)
    return `is out of range: ${labels.length} choices have the indices 0 to ${labels.length - 1}`;
  return null;
}
