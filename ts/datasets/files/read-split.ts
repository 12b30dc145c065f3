/** From the files of a split to items: streamed, hashed, each row checked with its file and line. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { BpeftError } from '../../errors.ts';
import { datasetError } from '../rows/dataset-error.ts';
import { namedFields } from '../rows/fields.ts';
import type { DatasetFile, Item, RowSet } from '../rows/item.ts';
import type { Task } from '../tasks/task.ts';
import { readCsv } from './csv.ts';
import { beginsList, type FileFormat, refuseForeign, withHead } from './file-formats.ts';
import { readJsonList } from './json-list.ts';
import { type BadRow, type RawRow, readJsonl } from './jsonl.ts';

/** A file to read: where it is, and how results call it. */
export interface SplitFile {
  readonly path: string;
  /** Without the folders of this machine. */
  readonly name: string;
  readonly format: FileFormat;
}

/** Bytes with a name for error messages. */
export interface ByteSource {
  /** As in error messages. */
  readonly file: string;
  /** As in results. */
  readonly name: string;
  readonly format: FileFormat;
  readonly bytes: AsyncIterable<Uint8Array>;
}

export interface SplitRows extends RowSet {
  readonly files: readonly DatasetFile[];
}

export function openFile({ path, name, format }: SplitFile): ByteSource {
  return { file: path, name, format, bytes: fileBytes(path) };
}

/**
 * The items of several files, one after another; rows count on from file to file.
 *
 * `labelNames` are the classes of a classification split; null takes those found in it. Rows that are
 * predicted need no answer: what they hold in its place is not read.
 *
 * @throws {BpeftError} `BPEFT_DATASET` for a missing or empty file and for a malformed row.
 */
export async function readSplit(
  sources: Iterable<ByteSource>,
  task: Task,
  labelNames: readonly string[] | null,
  { isPredicted = false }: { isPredicted?: boolean } = {},
): Promise<SplitRows> {
  const reader = task.reader(labelNames);
  const files: DatasetFile[] = [];
  const places: string[] = [];
  let firstRow = 0;
  for (const source of sources) {
    let rowsEnd = firstRow;
    const file = await readRecords(source, ({ value, row, line }) => {
      const place = { file: source.file, line };
      const fields = namedFields(value, place);
      reader.accept(isPredicted ? withoutAnswer(fields, task) : fields, firstRow + row, place);
      rowsEnd = firstRow + row + 1;
    });
    files.push(file);
    places.push(source.file);
    firstRow = rowsEnd;
  }
  return { ...reader.finish(places.join(', ')), files };
}

function withoutAnswer(fields: unknown, { answerFields }: Task): unknown {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return fields;
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !answerFields.includes(name)));
}

/** A row that is only predicted, or what is wrong with it. */
export type RowToPredict =
  | { readonly row: number; readonly item: Item }
  | { readonly row: number; readonly id: string | null; readonly error: BpeftError };

/**
 * Rows as they come, of which one is held at a time; a bad one does not end the others.
 * @throws {BpeftError} `BPEFT_DATASET`: what follows cannot be told apart into rows, or the file is none.
 */
export async function* rowsToPredict(
  source: ByteSource,
  task: Task,
  labelNames: readonly string[] | null,
): AsyncGenerator<RowToPredict, void, undefined> {
  for await (const record of records(source, source.bytes)) {
    const { row, line } = record;
    if ('error' in record) {
      yield { row, id: null, error: record.error };
      continue;
    }
    try {
      const place = { file: source.file, line };
      const reader = task.reader(labelNames);
      reader.accept(withoutAnswer(namedFields(record.value, place), task), row, place);
      for (const item of reader.finish(source.file).items) yield { row, item };
    } catch (error) {
      if (!(error instanceof BpeftError)) throw error;
      yield { row, id: idOf(record.value), error };
    }
  }
}

/** So that the answer to a bad row can be told by its id. */
function idOf(value: unknown): string | null {
  const id = (value as { id?: unknown } | null)?.id;
  return typeof id === 'string' || typeof id === 'number' ? String(id) : null;
}

/** The first record of a file, to tell its task by its fields. */
export async function firstRecord(source: ByteSource): Promise<unknown> {
  for await (const record of records(source, source.bytes)) {
    if ('error' in record) throw record.error;
    return namedFields(record.value, { file: source.file, line: record.line });
  }
  throw datasetError(source.file, 'holds no rows');
}

async function readRecords(source: ByteSource, accept: (record: RawRow) => void): Promise<DatasetFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  let rows = 0;
  const hashed = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of source.bytes) {
      bytes += chunk.length;
      hash.update(chunk);
      yield chunk;
    }
  };
  for await (const record of records(source, hashed())) {
    if ('error' in record) throw record.error;
    accept(record);
    rows += 1;
  }
  if (bytes === 0) throw datasetError(source.file, 'the file is empty');
  if (rows === 0) throw datasetError(source.file, 'holds no rows');
  return { path: source.name, sha256: hash.digest('hex'), rows };
}

async function* records(
  { file, format }: ByteSource,
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<RawRow | BadRow> {
  const { head, whole } = await withHead(bytes);
  refuseForeign(head, file);
  if (format === 'csv') yield* readCsv(whole, file);
  else if (beginsList(head)) yield* readJsonList(whole, file);
  else yield* readJsonl(whole, file);
}

async function* fileBytes(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path) as AsyncIterable<Uint8Array>;
  } catch (cause) {
    if (cause instanceof BpeftError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpeftError('BPEFT_IO', `${path}: ${reason}`, {
      hint: 'check that the path exists and that you may read it',
      cause,
    });
  }
}
