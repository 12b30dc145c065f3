/** `BPEFT_DATASET` with its place: file, line or number of the row, and field. */

import type { z } from 'zod';
import { BpeftError } from '../../errors.ts';
import { suggestedColumns } from './suggested-columns.ts';

/** Where a row stands. */
export interface RowPlace {
  readonly file: string;
  /** Its first line, from 1; null in a format without lines. */
  readonly line: number | null;
  /** Its number in the file, from 1, in a format whose rows are not told by their lines. */
  readonly number?: number;
}

/** As every message names a row. */
export function placeText({ file, line, number }: RowPlace): string {
  if (number === undefined) return `${file}:${line}`;
  return `${file}, row ${number}${line === null ? '' : ` (line ${line})`}`;
}

export function datasetError(
  place: RowPlace | string,
  message: string,
  options: { hint?: string | undefined; cause?: unknown } = {},
): BpeftError {
  const where = typeof place === 'string' ? place : placeText(place);
  return new BpeftError('BPEFT_DATASET', `${where}: ${message}`, options);
}

/** What one's own rows look like: a remedy for a row of which a field is missing. */
export const ROW_FORMS =
  'rows are {"question": "…", "choices": ["…", "…"], "answer": 0} or {"text": "…", "label": "…"}; answer and label may be left out where rows are only predicted';

/**
 * The first complaint of a row's schema, with its field and the value received; `form` is the hint
 * where nothing was.
 */
export function rowError(
  place: RowPlace,
  error: z.ZodError,
  row: unknown,
  form?: string,
): BpeftError {
  const issue = error.issues[0];
  if (issue === undefined) return datasetError(place, 'malformed row', { cause: error });
  const field = fieldName(issue.path);
  const value = valueAt(row, issue.path);
  const received =
    issue.path.length === 0 ? '' : `, got ${value === undefined ? fieldsOf(row) : shown(value)}`;
  const isMissing = issue.path.length === 0 || value === undefined;
  return datasetError(place, `${field === '' ? '' : `${field}: `}${issue.message}${received}`, {
    hint: isMissing ? remedy(row, form) : undefined,
    cause: error,
  });
}

/** Fields that are missing may be there in columns of other names. */
function remedy(row: unknown, form: string | undefined): string {
  if (form === undefined) return 'a field that is empty counts as missing';
  const columns = suggestedColumns(row);
  return columns === null ? form : `try --columns ${columns}; else ${form}`;
}

function fieldName(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) =>
      typeof key === 'number' ? `[${key}]` : index === 0 ? String(key) : `.${String(key)}`,
    )
    .join('');
}

function valueAt(row: unknown, path: readonly PropertyKey[]): unknown {
  let value = row;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

const SHOWN_CHARACTERS = 60;
const SHOWN_FIELDS = 12;

/** A field that is missing is often there under another name. */
function fieldsOf(row: unknown): string {
  const names = Object.keys(typeof row === 'object' && row !== null ? row : {});
  if (names.length === 0) return 'nothing';
  const listed = names.slice(0, SHOWN_FIELDS).map((name) => JSON.stringify(name));
  const more = names.length > SHOWN_FIELDS ? ` and ${names.length - SHOWN_FIELDS} more` : '';
  return `the field${names.length === 1 ? '' : 's'} ${listed.join(', ')}${more}`;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
}
