/**
 * Rows of classification: `{text | text1, text2 | sentence | sentence1, sentence2 | premise,
 * hypothesis, label, id?}`.
 *
 * `label` is a class name. Where no class name is a whole number, one is a 0-based index into them.
 * −1 is no label, unless a class is called so. The names come from `--labels` or are the set found
 * in the training split, sorted (as numbers when all are whole numbers).
 */

import { z } from 'zod';
import { nearestName } from '../../nearest.ts';
import { className, isWholeNumber, lookAlikes, sortedNames } from './class-names.ts';
import { datasetError, ROW_FORMS, type RowPlace, rowError } from './dataset-error.ts';
import { cellText, filledText } from './fields.ts';
import { type Item, letters } from './item.ts';

const TEXT_FIELDS = [
  ['text'],
  ['text1', 'text2'],
  ['sentence'],
  ['sentence1', 'sentence2'],
  ['premise', 'hypothesis'],
] as const;

const text = filledText.optional();

const ClassificationRow = z
  .looseObject(
    {
      text,
      text1: text,
      text2: text,
      sentence: text,
      sentence1: text,
      sentence2: text,
      premise: text,
      hypothesis: text,
      label: z
        .union([z.number(), z.string(), z.boolean()], 'must be a class name or its index')
        .optional(),
      id: cellText.optional(),
    },
    'must be an object',
  )
  .superRefine((row, context) => {
    const present = TEXT_FIELDS.filter((fields) =>
      fields.some((field) => row[field] !== undefined),
    );
    const [fields] = present;
    if (fields === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['text'],
        message: 'is required (or text1 and text2)',
      });
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

type ClassificationRow = z.infer<typeof ClassificationRow>;

/** @throws {BpeftError} `BPEFT_DATASET` with file, line and field. */
export function classificationRow(raw: unknown, place: RowPlace): ClassificationRow {
  const parsed = ClassificationRow.safeParse(raw);
  if (!parsed.success)
    throw rowError(place, parsed.error, raw, hasText(raw) ? undefined : ROW_FORMS);
  return parsed.data;
}

/** Whether a row that lacks a text has its other one: then its form is right. */
function hasText(raw: unknown): boolean {
  const names = typeof raw === 'object' && raw !== null ? Object.keys(raw) : [];
  return TEXT_FIELDS.some((fields) => fields.some((field) => names.includes(field)));
}

/** The item of a row; its choices are the class names. */
export function classificationItem(
  parsed: ClassificationRow,
  row: number,
  place: RowPlace,
  labelNames: readonly string[],
): Item {
  const {
    text,
    text1,
    text2,
    sentence,
    sentence1,
    sentence2,
    premise,
    hypothesis,
    label,
    id,
    ...meta
  } = parsed;
  const texts = [text, text1, text2, sentence, sentence1, sentence2, premise, hypothesis];
  return {
    place,
    row,
    id: id ?? null,
    context: null,
    question: '',
    texts: texts.filter((part) => part !== undefined),
    choices: labelNames,
    labels: letters(labelNames.length),
    answer: label === undefined ? null : labelIndex(className(label), labelNames, place),
    meta,
  };
}

/** The class names found in rows, sorted; and what looks alike among them. */
export function foundLabelNames(
  found: readonly string[],
  source: string,
): { names: readonly string[]; notices: readonly string[] } {
  const names = sortedNames(found);
  if (names.length === 0) {
    throw datasetError(source, 'no row has a label, so the class names are unknown', {
      hint: 'give rows a field "label"; where they have none to evaluate, name the classes: --labels NAME,NAME,…',
    });
  }
  return { names: checkedLabelNames(names, source), notices: lookAlikes(names, source) };
}

/**
 * The names as they are compared and recorded.
 * @throws {BpeftError} `BPEFT_DATASET` for fewer than 2, empty or repeated names.
 */
export function checkedLabelNames(given: readonly string[], source: string): readonly string[] {
  const names = given.map(className);
  if (names.length < 2)
    throw datasetError(source, `needs at least 2 classes, got ${names.length} (${names.join()})`);
  const { indices } = knownClasses(names);
  const repeated = names.find((name, index) => indices.get(name) !== index);
  if (repeated !== undefined)
    throw datasetError(source, `names the class ${JSON.stringify(repeated)} twice`);
  if (names.includes('')) throw datasetError(source, 'has a class without a name');
  return names;
}

/** What each row asks of the class names. */
interface KnownClasses {
  /** Of a name that stands twice the last index. */
  readonly indices: ReadonlyMap<string, number>;
  /** Whether whole numbers are names, and never indices. */
  readonly areNumbered: boolean;
}

const known = new WeakMap<readonly string[], KnownClasses>();

function knownClasses(names: readonly string[]): KnownClasses {
  let classes = known.get(names);
  if (classes === undefined) {
    const indices = new Map(names.map((name, index) => [name, index]));
    classes = { indices, areNumbered: names.some(isWholeNumber) };
    known.set(names, classes);
  }
  return classes;
}

function labelIndex(label: string, labelNames: readonly string[], place: RowPlace): number | null {
  if (label === '') return null;
  const { indices, areNumbered } = knownClasses(labelNames);
  const named = indices.get(label);
  if (named !== undefined) return named;
  if (isWholeNumber(label)) {
    const number = Number(label);
    if (number === -1) return null;
    if (number >= 0 && number < labelNames.length && !areNumbered) return number;
  }
  const nearest = isWholeNumber(label) ? null : nearestName(label, labelNames);
  const remedy = 'name all classes: --labels NAME,NAME,…';
  throw datasetError(
    place,
    `label: is not among the classes ${shownNames(labelNames)}, got ${JSON.stringify(label)}`,
    { hint: nearest === null ? remedy : `did you mean ${JSON.stringify(nearest)}? Else ${remedy}` },
  );
}

const SHOWN_NAMES = 20;

function shownNames(names: readonly string[]): string {
  const more = names.length > SHOWN_NAMES ? ` and ${names.length - SHOWN_NAMES} more` : '';
  return names.slice(0, SHOWN_NAMES).join(', ') + more;
}
