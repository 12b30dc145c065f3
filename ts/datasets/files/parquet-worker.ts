/**
 * The rows of a Parquet file, one row group after another: a worker of `partsOffThread`.
 *
 * The file is not trusted: what it says of its own sizes is held against what it is before memory
 * is given.
 */

import { type FileHandle, open } from 'node:fs/promises';
import {
  type AsyncBuffer,
  type Compressors,
  parquetMetadataAsync,
  parquetReadObjects,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { serveParts } from '../../threads/off-thread.ts';

/** Of one row group, unpacked: more would not leave room for its rows. */
const MOST_BYTES = 1 << 30;
const MOST_ROWS = 1 << 22;
const MOST_FOOTER_BYTES = 1 << 27;
/** Rows that cross to the other thread together. */
const PART_ROWS = 512;

export interface ParquetInput {
  readonly path: string;
  /** Whether integers that stand for classes become the classes' names, where the file has them. */
  readonly isNamed: boolean;
}

type Row = Record<string, unknown>;

async function randomAccess(handle: FileHandle): Promise<AsyncBuffer> {
  const { size: byteLength } = await handle.stat();
  const head = new Uint8Array(8);
  await handle.read(head, 0, 8, Math.max(0, byteLength - 8));
  if (byteLength < 12 || Buffer.from(head.subarray(4)).toString() !== 'PAR1') {
    throw new Error('it does not end as Parquet does');
  }
  if (new DataView(head.buffer).getUint32(0, true) > MOST_FOOTER_BYTES)
    throw new Error('its footer is too long');
  return {
    byteLength,
    async slice(start, end = byteLength) {
      const isInside = start >= 0 && start <= end && end <= byteLength;
      if (!isInside) throw new Error(`it points to bytes ${start} to ${end}, of ${byteLength}`);
      const bytes = new Uint8Array(end - start);
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
      if (bytesRead < bytes.length) throw new Error('it became shorter while it was read');
      return bytes.buffer;
    },
  };
}

/** A page says itself how long it will be. */
const BOUNDED: Compressors = Object.fromEntries(
  Object.entries(compressors).map(([codec, unpack]) => [
    codec,
    (packed: Uint8Array, length: number) => {
      if (length > MOST_BYTES) throw new Error(`a page says that it holds ${length} bytes`);
      return unpack(packed, length);
    },
  ]),
);

/**
 * The classes of integer columns, as Python's `datasets` writes them: `{info: {features: {column:
 * {names}}}}`.
 */
function classNames(
  entries: readonly { key: string; value?: string | undefined }[],
): Map<string, string[]> {
  const text = entries.find(({ key }) => key === 'huggingface')?.value;
  const isClass = (entry: [string, unknown]): entry is [string, { names: string[] }] => {
    const { _type: type, names } = (entry[1] ?? {}) as { _type?: unknown; names?: unknown };
    return (
      type === 'ClassLabel' &&
      Array.isArray(names) &&
      names.every((name) => typeof name === 'string')
    );
  };
  try {
    const { features } = JSON.parse(text ?? '').info as {
      features: Readonly<Record<string, unknown>>;
    };
    const classes = Object.entries(features).filter(isClass);
    return new Map(classes.map(([column, { names }]) => [column, names]));
  } catch {
    return new Map(); // no such note, or one of another form: integers stay integers
  }
}

function plainRow(row: Row, names: ReadonlyMap<string, readonly string[]>): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      const plain = plainValue(value);
      return [name, names.get(name)?.[plain as number] ?? plain];
    }),
  );
}

/** As JSON has it; integers beyond 2^53 are their digits, and what is no text is left out. */
function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (Array.isArray(value)) return value.map(plainValue);
  if (ArrayBuffer.isView(value)) return null;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plainValue(one)]));
}

await serveParts<ParquetInput, readonly Row[]>(async function* ({ path, isNamed }) {
  const handle = await open(path);
  try {
    const file = await randomAccess(handle);
    const metadata = await parquetMetadataAsync(file, { geoparquet: false });
    const names = isNamed
      ? classNames(metadata.key_value_metadata ?? [])
      : new Map<string, string[]>();
    for (const group of metadata.row_groups) {
      if (group.total_byte_size > MOST_BYTES || group.num_rows > MOST_ROWS) {
        const size = `${group.num_rows} rows in ${group.total_byte_size} bytes`;
        throw new Error(
          `a row group holds ${size}, and may hold ${MOST_ROWS} rows in ${MOST_BYTES} bytes`,
        );
      }
      const rows = await parquetReadObjects({
        file,
        metadata: { ...metadata, row_groups: [group], num_rows: group.num_rows },
        compressors: BOUNDED,
        geoparquet: false,
      });
      for (let start = 0; start < rows.length; start += PART_ROWS) {
        yield rows.slice(start, start + PART_ROWS).map((row) => plainRow(row, names));
      }
    }
  } finally {
    await handle.close();
  }
});
