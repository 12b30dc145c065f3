/**
 * Rows of classification: `{text | text1, text2 | sentence | sentence1, sentence2, label, id?}`.
 *
 * `label` is a class name or, when it names none, a 0-based index into the class names. The names come from
 * `--labels` or are the set found in the training split, sorted (as numbers when all are whole numbers).
 */

import { z } from 'zod';
import { datasetError, ROW_FORMS, type RowPlace, rowError } from './dataset-error.ts';
import { type Item, letters, MAX_CLASSES } from './item.ts';
import { rowId } from './multiple-choice.ts';

const TEXT_FIELDS = [['text'], ['text1', 'text2'], ['sentence'], ['sentence1', 'sentence2']] as const;

const text = z
  .string('must be a text')
  .refine((value) => value.trim() !== '', 'must not be empty')
  .optional();

const ClassificationRow = z
  .looseObject(
    {
      text,
      text1: text,
      text2: text,
      sentence: text,
      sentence1: text,
      sentence2: text,
      label: z.union([z.int(), z.string(), z.boolean()], 'must be a class name or its index').nullish(),
      id: rowId,
    },
    'must be an object',
  )
  .superRefine((row, context) => {
    const present = TEXT_FIELDS.filter((fields) => fields.some((field) => row[field] !== undefined));
    const [fields] = present;
    if (fields === undefined) {
      context.addIssue({ code: 'custom', path: ['text'], message: 'is required (or text1 and text2)' });
    } else if (present.length > 1) {
      context.addIssue({
        code: 'custom',
        path: [present[1]?.[0] ?? 'text'],
        message: `stands beside ${fields[0]}; keep one of them`,
      });
    } else {
      for (const field of fields) {
        if (row[field] === undefined)
          context.addIssue({ code: 'custom', path: [field], message: 'is required' });
      }
    }
  });

export type ClassificationRow = z.infer<typeof ClassificationRow>;

/** @throws {BpeftError} `BPEFT_DATASET` with file, line and field. */
export function classificationRow(raw: unknown, place: RowPlace): ClassificationRow {
  const parsed = ClassificationRow.safeParse(raw);
  if (!parsed.success) throw rowError(place, parsed.error, raw, ROW_FORMS);
  return parsed.data;
}

/** The item of a row; its choices are the class names. */
export function classificationItem(
  parsed: ClassificationRow,
  row: number,
  place: RowPlace,
  labelNames: readonly string[],
): Item {
  const { text, text1, text2, sentence, sentence1, sentence2, label, id, ...meta } = parsed;
  return {
    row,
    id: id ?? null,
    context: null,
    question: '',
    texts: [text, text1, text2, sentence, sentence1, sentence2].filter((part) => part !== undefined),
    choices: labelNames,
    labels: letters(labelNames.length),
    answer: hasLabel(label) ? labelIndex(label, labelNames, place) : null,
    meta,
  };
}

/** The class names found in rows: distinct, sorted. */
export function labelNamesOf(rows: readonly ClassificationRow[], source: string): readonly string[] {
  const found = new Set<string>();
  for (const { label } of rows) if (hasLabel(label)) found.add(String(label));
  const names = [...found];
  if (names.length === 0) {
    throw datasetError(source, 'no row has a label, so the class names are unknown', {
      hint: 'give rows a field "label"; where they have none to evaluate, name the classes: --labels NAME,NAME,…',
    });
  }
  const numbers = names.every((name) => /^-?\d+$/.test(name));
  return checkedLabelNames(
    names.sort((a, b) => (numbers ? Number(a) - Number(b) : a < b ? -1 : 1)),
    source,
  );
}

/** @throws {BpeftError} `BPEFT_DATASET` for fewer than 2, more than 26, empty or repeated names. */
export function checkedLabelNames(names: readonly string[], source: string): readonly string[] {
  if (names.length < 2)
    throw datasetError(source, `needs at least 2 classes, got ${names.length} (${names.join()})`);
  if (names.length > MAX_CLASSES) {
    throw datasetError(source, `has ${names.length} classes, more than there are letters (${MAX_CLASSES})`);
  }
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) throw datasetError(source, `names the class ${JSON.stringify(repeated)} twice`);
  if (names.some((name) => name.trim() === '')) throw datasetError(source, 'has a class without a name');
  return names;
}

type Label = number | string | boolean;

function hasLabel(label: ClassificationRow['label']): label is Label {
  return label !== undefined && label !== null && label !== '';
}

function labelIndex(label: Label, labelNames: readonly string[], place: RowPlace): number {
  const named = labelNames.indexOf(String(label));
  if (named >= 0) return named;
  if (typeof label === 'number' && label >= 0 && label < labelNames.length) return label;
  throw datasetError(
    place,
    `label: is not among the classes ${labelNames.join(', ')}, got ${JSON.stringify(label)}`,
    {
      hint: 'name all classes: --labels NAME,NAME,…',
    },
  );
}
