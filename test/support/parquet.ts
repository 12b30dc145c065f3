/**
 * Rows as Parquet, as the Hub has them: texts, integers, truth values, lists of texts, and
 * structures of these.
 */

import { parquetWriteBuffer } from 'hyparquet-writer';

type Row = Readonly<Record<string, unknown>>;
type Options = Omit<Parameters<typeof parquetWriteBuffer>[0], 'columnData' | 'schema'>;
type Element = NonNullable<Parameters<typeof parquetWriteBuffer>[0]['schema']>[number];

/** Columns and their types are those of the first row. */
export function parquet(rows: readonly Row[], options: Options = {}): Buffer {
  const [first = {}] = rows;
  const names = Object.keys(first);
  const columnData = names.map((name) => ({
    name,
    data: rows.map((row) =>
      Number.isInteger(row[name]) ? BigInt(row[name] as number) : (row[name] ?? null),
    ),
  }));
  const schema = [
    { name: 'root', num_children: names.length },
    ...names.flatMap((name) => elements(name, first[name])),
  ];
  return Buffer.from(parquetWriteBuffer({ columnData, schema, ...options }));
}

/** What Python's `datasets` notes of columns of classes. */
export function classes(names: Readonly<Record<string, readonly string[]>>): Options {
  const features = Object.fromEntries(
    Object.entries(names).map(([column, names]) => [column, { names, _type: 'ClassLabel' }]),
  );
  return { kvMetadata: [{ key: 'huggingface', value: JSON.stringify({ info: { features } }) }] };
}

function elements(name: string, value: unknown): Element[] {
  const optional = { name, repetition_type: 'OPTIONAL' } as const;
  if (typeof value === 'string')
    return [{ ...optional, type: 'BYTE_ARRAY', converted_type: 'UTF8' }];
  if (typeof value === 'boolean') return [{ ...optional, type: 'BOOLEAN' }];
  if (typeof value === 'number') return [{ ...optional, type: 'INT64' }];
  if (Array.isArray(value)) {
    return [
      { ...optional, num_children: 1, converted_type: 'LIST' },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
      ...elements('element', value[0] ?? ''),
    ];
  }
  const fields = Object.entries(value as object);
  return [
    { ...optional, num_children: fields.length },
    ...fields.flatMap(([field, one]) => elements(field, one)),
  ];
}
