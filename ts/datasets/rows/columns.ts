/**
 * Rows whose columns have names of their own: which column holds which field.
 *
 * ```text
 * question=prompt          the column `prompt`; `a.b` is the field b of the column a
 * choices=opa+opb+opc      several columns, as one list
 * ```
 */

import { BpeftError } from '../../errors.ts';
import { nearestName } from '../../nearest.ts';
import { datasetError, type RowPlace } from './dataset-error.ts';
import { fieldNamed } from './fields.ts';

/** Field → columns. */
export type Columns = ReadonlyMap<string, readonly string[]>;

/** @throws {BpeftError} `BPEFT_USAGE`: no pairs of known fields and columns. */
export function columnsFrom(pairs: readonly string[]): Columns {
  const columns = new Map<string, readonly string[]>();
  for (const pair of pairs) {
    const [, left = '', right = ''] = /^([^=]+)=(.+)$/.exec(pair) ?? [];
    const field = fieldNamed(left);
    const names = right.split('+').map((name) => name.trim());
    const isWhole =
      field !== null && !names.includes('') && (names.length === 1 || field === 'choices');
    if (!isWhole || columns.has(field)) {
      throw new BpeftError(
        'BPEFT_USAGE',
        `--columns takes pairs of a field and its column, got ${pair}`,
        {
          hint: 'as in question=prompt,choices=options,answer=gold or choices=a+b+c+d, each field once',
        },
      );
    }
    columns.set(field, names);
  }
  return columns;
}

/**
 * The row with its fields under their names; what else is there stays.
 * @param optional fields whose columns may be missing
 * @throws {BpeftError} `BPEFT_DATASET`: a column is not there, with those that are
 */
export function mappedRow(
  row: unknown,
  columns: Columns | null | undefined,
  place: RowPlace,
  optional: readonly string[] = [],
): unknown {
  if (columns === null || columns === undefined) return row;
  if (typeof row !== 'object' || row === null || Array.isArray(row)) return row;
  const own = row as Readonly<Record<string, unknown>>;
  const used = new Set([...columns.values()].flat());
  // A field's old bearer makes room for the column that is asked for.
  const rest = Object.entries(own).filter(
    ([name]) => !used.has(name) && !columns.has(fieldNamed(name) ?? ''),
  );
  const mapped = Object.fromEntries(rest);
  for (const [field, names] of columns) {
    const values = names.map((name) => valueAt(own, name));
    const missing = names.find((_, at) => values[at] === undefined);
    if (missing === undefined) mapped[field] = names.length === 1 ? values[0] : withoutTail(values);
    else if (!optional.includes(field)) throw noColumn(missing, own, place);
  }
  return mapped;
}

/** A column of that name, else the field of one; undefined: neither is there. */
function valueAt(row: Readonly<Record<string, unknown>>, name: string): unknown {
  if (Object.hasOwn(row, name)) return row[name];
  const dot = name.indexOf('.');
  if (dot < 0) return undefined;
  const inner = row[name.slice(0, dot)];
  if (typeof inner !== 'object' || inner === null) return undefined;
  return valueAt(inner as Readonly<Record<string, unknown>>, name.slice(dot + 1));
}

/** Rows with fewer choices leave the last columns empty. */
function withoutTail(values: readonly unknown[]): unknown[] {
  return values.slice(0, 1 + values.findLastIndex((value) => value !== null && value !== ''));
}

function noColumn(name: string, row: object, place: RowPlace): BpeftError {
  const names = Object.keys(row);
  const nearest = nearestName(name, names);
  const list = `its columns: ${names.join(', ')}`;
  return datasetError(place, `has no column ${JSON.stringify(name)}, which --columns names`, {
    hint: nearest === null ? list : `did you mean ${JSON.stringify(nearest)}? ${list}`,
  });
}
