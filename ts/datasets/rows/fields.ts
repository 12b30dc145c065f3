/**
 * The fields of a row, the same for every format: names are known whatever their letter case and
 * the white space around them; a field that is null or an empty text is absent.
 */

import { z } from 'zod';
import { datasetError, type RowPlace } from './dataset-error.ts';

const NAMES = [
  ...[
    'question',
    'question_stem',
    'prompt',
    'context',
    'passage',
    'choices',
    'labels',
    'answer',
    'answerKey',
  ],
  ...[
    'text',
    'text1',
    'text2',
    'sentence',
    'sentence1',
    'sentence2',
    'premise',
    'hypothesis',
    'label',
    'id',
  ],
  ...['option1', 'option2'],
];

const BY_LOWER_CASE = new Map(NAMES.map((name) => [name.toLowerCase(), name]));

/** The field that a heading names, or null. */
export function fieldNamed(heading: string): string | null {
  return BY_LOWER_CASE.get(heading.trim().toLowerCase()) ?? null;
}

/** @throws {BpeftError} `BPEFT_DATASET`: two headings name one field. */
export function namedFields(raw: unknown, place: RowPlace): unknown {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return raw;
  const fields: [string, unknown][] = [];
  const headings = new Map<string, string>();
  for (const [heading, value] of Object.entries(raw)) {
    const field = fieldNamed(heading);
    if (field !== null && (value === null || value === '')) continue;
    const other = headings.get(field ?? heading);
    if (other !== undefined) {
      throw datasetError(
        place,
        `${field}: is there twice, as ${quoted(other)} and ${quoted(heading)}`,
      );
    }
    headings.set(field ?? heading, heading);
    fields.push([field ?? heading, value]);
  }
  return Object.fromEntries(fields);
}

/** A text; a number or a truth value is the text that a CSV cell would hold. */
export const cellText = z.union(
  [z.string(), z.number().transform(String), z.boolean().transform(String)],
  'must be a text',
);

export const filledText = cellText.refine((text) => text.trim() !== '', 'must not be empty');

function quoted(text: string): string {
  return JSON.stringify(text);
}
