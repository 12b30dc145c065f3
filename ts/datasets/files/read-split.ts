/** The rows of a split's files: streamed, hashed, each checked with its place. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { BpeftError, throwIfAborted } from '../../errors.ts';
import { sha256OfFiles } from '../../threads/sha256.ts';
import { checkedLabelNames, foundLabelNames } from '../rows/classification.ts';
import { type Columns, mappedRow } from '../rows/columns.ts';
import { datasetError, type RowPlace } from '../rows/dataset-error.ts';
import { namedFields } from '../rows/fields.ts';
import type { DatasetFile, Item } from '../rows/item.ts';
import type { Task } from '../tasks/task.ts';
import { readCsv } from './csv.ts';
import { beginsList, type FileFormat, refuseForeign, withHead } from './file-formats.ts';
import { readJsonList } from './json-list.ts';
import { type BadRow, type RawRow, readJsonl } from './jsonl.ts';
import { readParquet } from './parquet.ts';
import { unpacked } from './unpack.ts';

/** A file to read: where it is, and how results call it. */
export interface SplitFile {
  readonly path: string;
  /** Without the folders of this machine. */
  readonly name: string;
  readonly format: FileFormat;
}

interface NamedSource {
  /** As in error messages. */
  readonly file: string;
  /** As in results. */
  readonly name: string;
}

/** Bytes, from wherever. */
export interface ByteSource extends NamedSource {
  readonly format: Exclude<FileFormat, 'parquet'>;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** A table is read from its end on: it must be a file. */
interface TableSource extends NamedSource {
  readonly format: 'parquet';
  readonly path: string;
}

export type RowSource = ByteSource | TableSource;

export interface ReadOptions {
  /** The classes of a classification split; null takes those found in it. */
  readonly labelNames: readonly string[] | null;
  /** Rows to read; nothing beyond them is looked at. */
  readonly limit?: number | undefined;
  /** Rows that are predicted need no answer: what they hold in its place is not read. */
  readonly isPredicted?: boolean | undefined;
  /** Which columns hold the fields; null: they have their names. */
  readonly columns?: Columns | null | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a split turned out to hold, without its rows. */
export interface Survey {
  /** Class names of a classification split, in class order; null otherwise. */
  readonly labelNames: readonly string[] | null;
  readonly notices: readonly string[];
  readonly files: readonly DatasetFile[];
  readonly rows: number;
  /** Read from the files. */
  readonly bytes: number;
  /** An item with as many choices as any. */
  readonly widest: Item;
}

export function openFile({ path, name, format }: SplitFile): RowSource {
  if (format === 'parquet') return { file: path, name, format, path };
  return { file: path, name, format, bytes: fileBytes(path) };
}

interface PlacedRow {
  readonly fields: unknown;
  /** 0-based in the split. */
  readonly row: number;
  readonly place: RowPlace;
}

/** The items of a split, all in memory. @throws {BpeftError} as {@link surveySplit} does. */
export async function readSplit(
  sources: Iterable<RowSource>,
  task: Task,
  options: ReadOptions,
): Promise<Survey & { readonly items: readonly Item[] }> {
  const held: (Item | PlacedRow)[] = [];
  const survey = await surveySplit(sources, task, options, (row) => void held.push(row));
  const items = held.map((one) => ('fields' in one ? itemOf(one, task, survey.labelNames) : one));
  return { ...survey, items };
}

/**
 * Reads every row and checks it; rows count on from file to file.
 *
 * @param keep gets each item, or the row where the classes are not known yet
 * @throws {BpeftError} `BPEFT_DATASET` for a missing or empty file and for a malformed row;
 * `BPEFT_ABORTED`.
 */
export async function surveySplit(
  sources: Iterable<RowSource>,
  task: Task,
  options: ReadOptions,
  keep: (row: Item | PlacedRow) => void = () => undefined,
): Promise<Survey> {
  const { labelNames, limit = Number.POSITIVE_INFINITY, signal } = options;
  const asked = labelNames === null ? null : checkedLabelNames(labelNames, '--labels');
  // Only rows of classification have classes to name.
  const given = task.labelNames ?? (task.labelOf === undefined ? null : asked);
  const labelOf = given === null ? task.labelOf : undefined;
  const labels = new Set<string>();
  const meter = new Meter();
  let rows = 0;
  let first: PlacedRow | null = null;
  let widest: Item | null = null;
  for await (const placed of placedRows(sources, task, options, meter)) {
    throwIfAborted(signal);
    first ??= placed;
    if (labelOf === undefined) {
      const item = itemOf(placed, task, given);
      if (widest === null || item.choices.length > widest.choices.length) widest = item;
      keep(item);
    } else {
      const label = labelOf(placed.fields, placed.place);
      if (label !== null) labels.add(label);
      keep(placed);
    }
    rows += 1;
    if (rows >= limit) break;
  }
  if (first === null) throw new TypeError('a file without rows is refused');
  const where = meter.files.map(({ file }) => file).join(', ');
  const found =
    labelOf === undefined ? { names: given, notices: [] } : foundLabelNames([...labels], where);
  return {
    labelNames: found.names,
    notices: found.notices,
    files: meter.files.map(({ name, sha256, rows }) => ({ path: name, sha256, rows })),
    rows,
    bytes: meter.bytes,
    widest: widest ?? itemOf(first, task, found.names),
  };
}

/** The items of a split one by one, read again from its files. */
export async function* splitItems(
  sources: Iterable<RowSource>,
  task: Task,
  options: ReadOptions,
): AsyncGenerator<Item, void, undefined> {
  const { labelNames, limit = Number.POSITIVE_INFINITY } = options;
  let rows = 0;
  for await (const placed of placedRows(sources, task, options, null)) {
    yield itemOf(placed, task, labelNames);
    rows += 1;
    if (rows >= limit) return;
  }
}

/** A row that is only predicted, or what is wrong with it. */
export type RowToPredict =
  | { readonly row: number; readonly item: Item }
  | { readonly row: number; readonly id: string | null; readonly error: BpeftError };

/**
 * Rows as they come, of which one is held at a time; a bad one does not end the others.
 * @throws {BpeftError} `BPEFT_DATASET`: what follows cannot be told apart into rows, or the file is
 * none.
 */
export async function* rowsToPredict(
  source: RowSource,
  task: Task,
  { labelNames, columns }: Pick<ReadOptions, 'labelNames' | 'columns'>,
): AsyncGenerator<RowToPredict, void, undefined> {
  for await (const record of records(source, areNamed(task))) {
    const { row, place } = record;
    if ('error' in record) {
      yield { row, id: null, error: record.error };
      continue;
    }
    try {
      const mapped = mappedRow(record.value, columns, place, task.answerFields);
      const fields = withoutAnswer(namedFields(mapped, place), task);
      yield { row, item: task.item(fields, row, place, task.labelNames ?? labelNames) };
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
export async function firstRecord(source: RowSource, columns?: Columns | null): Promise<unknown> {
  for await (const record of records(source, false)) {
    if ('error' in record) throw record.error;
    const { place } = record;
    return namedFields(mappedRow(record.value, columns, place), place);
  }
  throw datasetError(source.file, 'holds no rows');
}

function itemOf(
  { fields, row, place }: PlacedRow,
  task: Task,
  labelNames: readonly string[] | null,
): Item {
  return task.item(fields, row, place, labelNames);
}

interface MeteredFile {
  readonly file: string;
  readonly name: string;
  /** Null until the last byte is read. */
  sha256: string | null;
  rows: number;
}

/** What was read of the files so far. */
class Meter {
  readonly files: MeteredFile[] = [];
  bytes = 0;
}

async function* placedRows(
  sources: Iterable<RowSource>,
  task: Task,
  { isPredicted = false, columns, signal }: ReadOptions,
  meter: Meter | null,
): AsyncGenerator<PlacedRow, void, undefined> {
  let firstRow = 0;
  for (const source of sources) {
    const { file, name } = source;
    const metered: MeteredFile = { file, name, sha256: null, rows: 0 };
    meter?.files.push(metered);
    const begin = meter?.bytes;
    const [counted, hash] =
      meter === null ? [source, async () => null] : withHash(source, meter, signal);
    let rowsEnd = firstRow;
    for await (const record of records(counted, areNamed(task))) {
      if ('error' in record) throw record.error;
      const { value, row, place } = record;
      const mapped = mappedRow(value, columns, place, isPredicted ? task.answerFields : []);
      const fields = namedFields(mapped, place);
      metered.rows += 1;
      rowsEnd = firstRow + row + 1;
      yield {
        fields: isPredicted ? withoutAnswer(fields, task) : fields,
        row: firstRow + row,
        place,
      };
    }
    const sha256 = await hash();
    if (begin !== undefined && meter?.bytes === begin)
      throw datasetError(file, 'the file is empty');
    if (metered.rows === 0) throw datasetError(file, 'holds no rows');
    metered.sha256 = sha256;
    firstRow = rowsEnd;
  }
}

/** The source, and what to ask for its hash when its last row is read; its bytes are counted. */
function withHash(
  source: RowSource,
  meter: Meter,
  signal: AbortSignal | undefined,
): readonly [RowSource, () => Promise<string | null>] {
  if (source.format === 'parquet') {
    return [
      source,
      async () => {
        meter.bytes += (await stat(source.path)).size;
        return (await sha256OfFiles([source.path], { signal }))[0] ?? null;
      },
    ];
  }
  const hash = createHash('sha256');
  const hashed = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of source.bytes) {
      meter.bytes += chunk.length;
      hash.update(chunk);
      yield chunk;
    }
  };
  return [{ ...source, bytes: hashed() }, async () => hash.digest('hex')];
}

function withoutAnswer(fields: unknown, { answerFields }: Task): unknown {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return fields;
  return Object.fromEntries(
    Object.entries(fields).filter(([name]) => !answerFields.includes(name)),
  );
}

/** Whether rows name their classes, so that integers of a table are to be its classes' names. */
function areNamed({ labelOf }: Task): boolean {
  return labelOf !== undefined;
}

async function* records(source: RowSource, isNamed: boolean): AsyncGenerator<RawRow | BadRow> {
  if (source.format === 'parquet') {
    yield* readParquet({ path: source.path, isNamed });
    return;
  }
  const { file, format, bytes } = source;
  const { head, whole } = await withHead(unpacked(bytes, file));
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
