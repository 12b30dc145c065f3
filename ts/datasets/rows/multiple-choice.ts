/**
 * Rows of multiple choice: `{question | prompt, choices[], answer | answerKey, labels?, id?,
 * context?}`.
 *
 * `answer` is a 0-based index or one of the labels (`A`, `B`, … where the row has none): a JSON
 * number is an index, a text is a label if it is one, else the index that it writes. `answerKey` is
 * a label. −1 is no answer, unless a label is called so. Fields of other names become the item's
 * meta data.
 *
 * The rows of ARC and OpenBookQA as Hugging Face publishes them have `choices: {text: […], label:
 * […]}`.
 */

import { z } from 'zod';
import { className, isWholeNumber } from './class-names.ts';
import { ROW_FORMS, type RowPlace, rowError } from './dataset-error.ts';
import { cellText, filledText } from './fields.ts';
import { type Item, letters } from './item.ts';

const MultipleChoiceRow = z
  .looseObject(
    {
      question: filledText.optional(),
      question_stem: filledText.optional(),
      prompt: filledText.optional(),
      context: cellText.optional(),
      choices: z.array(filledText, 'must be a list of texts').min(2, 'needs at least 2 choices'),
      labels: z.array(filledText, 'must be a list of texts').optional(),
      answer: z.union([z.int(), z.string()], 'must be an index or a label').optional(),
      answerKey: cellText.optional(),
      id: cellText.optional(),
    },
    'must be an object',
  )
  .superRefine((row, context) => {
    const fail = (field: string, message: string): void => {
      context.addIssue({ code: 'custom', path: [field], message });
    };
    const [first, second] = QUESTION_FIELDS.filter((field) => row[field] !== undefined);
    if (first === undefined) fail('question', 'is required (or prompt)');
    if (second !== undefined) fail(second, `stands beside ${first}; keep one of them`);
    if (row.answer !== undefined && row.answerKey !== undefined)
      fail('answerKey', 'stands beside answer; keep one of them');
    const labels = (row.labels ?? letters(row.choices.length)).map(className);
    if (labels.length !== row.choices.length)
      fail('labels', `must be ${row.choices.length}, one per choice`);
    else if (new Set(labels).size !== labels.length) fail('labels', 'must differ from each other');
    const [field, complaint] = complaintAbout(row, labels);
    if (complaint !== null) fail(field, complaint);
  });

const QUESTION_FIELDS = ['question', 'question_stem', 'prompt'] as const;

/** @throws {BpeftError} `BPEFT_DATASET` with file, line and field. */
export function multipleChoiceItem(raw: unknown, row: number, place: RowPlace): Item {
  const listed = withListedChoices(raw);
  const parsed = MultipleChoiceRow.safeParse(listed);
  if (!parsed.success) throw rowError(place, parsed.error, listed, ROW_FORMS);
  const { question, question_stem, prompt, context, choices, labels: given, ...rest } = parsed.data;
  const { answer, answerKey, id, ...meta } = rest;
  const labels = (given ?? letters(choices.length)).map(className);
  return {
    place,
    row,
    id: id ?? null,
    context: context === undefined || context.trim() === '' ? null : context,
    question: question ?? question_stem ?? prompt ?? '',
    texts: [],
    choices,
    labels,
    answer: answerIndex({ answer, answerKey }, labels),
    meta,
  };
}

/** Hugging Face's `choices: {text, label}` as two lists. */
function withListedChoices(raw: unknown): unknown {
  if (typeof raw !== 'object' || raw === null || !('choices' in raw)) return raw;
  const { choices } = raw;
  if (typeof choices !== 'object' || choices === null || !('text' in choices)) return raw;
  const labels = 'labels' in raw ? raw.labels : 'label' in choices ? choices.label : undefined;
  return { ...raw, choices: choices.text, ...(labels === undefined ? {} : { labels }) };
}

interface AnswerFields {
  readonly answer?: number | string | undefined;
  readonly answerKey?: string | undefined;
}

/** Null: the row has none. What {@link complaintAbout} refuses gives a number that is no index. */
function answerIndex(
  { answer, answerKey }: AnswerFields,
  labels: readonly string[],
): number | null {
  const value = answer ?? answerKey;
  const name = value === undefined ? '' : className(value);
  const label = typeof answer === 'number' ? -1 : labels.indexOf(name);
  if (label >= 0) return label;
  return name === '' || (isWholeNumber(name) && Number(name) === -1) ? null : Number(name);
}

function complaintAbout(
  fields: AnswerFields,
  labels: readonly string[],
): readonly [string, string | null] {
  const { answer, answerKey } = fields;
  const field = answer === undefined ? 'answerKey' : 'answer';
  const index = answerIndex(fields, labels);
  if (index === null) return [field, null];
  const isLabel = labels.includes(className(answer ?? answerKey ?? ''));
  const isIndex = answer !== undefined && isWholeNumber(className(answer));
  if (!isLabel && !isIndex) return [field, `is not among the labels ${labels.join(', ')}`];
  const isInside = index >= 0 && index < labels.length;
  const range = `${labels.length} choices have the indices 0 to ${labels.length - 1}`;
  return [field, isInside ? null : `is out of range: ${range}`];
}
