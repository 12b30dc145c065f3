/**
 * CSV with a header line, read as a stream; the same fields as JSON Lines.
 *
 * Lists are written as JSON in one cell (`choices`, `labels`), or choices as the columns `choice1`,
 * `choice2`, …. An empty cell is an absent field; rows without any cell, and columns without a
 * heading, are passed over.
 */

import { pipeline, Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import type { BpeftError } from '../../errors.ts';
import { className, isWholeNumber } from '../rows/class-names.ts';
import { datasetError, type RowPlace } from '../rows/dataset-error.ts';
import { fieldNamed } from '../rows/fields.ts';
import { dialectOf } from './delimiter.ts';
import { type BadRow, MAX_LINE_BYTES, type RawRow, rowOrError } from './jsonl.ts';
import { RowLines } from './row-lines.ts';
import { decoded } from './utf8.ts';

const LIST_FIELDS = ['choices', 'labels'] as const;

/**
 * @throws {BpeftError} `BPEFT_DATASET` for bad UTF-8 or a quote that ends nowhere, with its line. A
 * row's line is that in which it begins.
 */
export async function* readCsv(
  chunks: AsyncIterable<Uint8Array>,
  file: string,
): AsyncGenerator<RawRow | BadRow, void, undefined> {
  const { delimiter, skippedLines, rest } = await dialectOf(decoded(chunks, file), file);
  const lines = new RowLines(1 + skippedLines);
  let columns = 0;
  const parser = parse({
    delimiter,
    columns: (header: string[]) => {
      columns = header.length;
      return columnNames(header, { file, line: 1 + skippedLines });
    },
    info: true,
    max_record_size: MAX_LINE_BYTES,
    relax_column_count: true, // a row of other length is the row's fault, told by `info.error`
    skip_empty_lines: true,
    skip_records_with_empty_values: true,
  });
  const records = pipeline(Readable.from(lines.watched(rest)), parser, () => {});
  let row = 0;
  try {
    for await (const record of records) {
      const { record: cells, info } = record as CsvRecord;
      const place = { file, line: lines.ofRow(info.bytes) };
      yield rowOrError({ row, place }, () => {
        if (info.error !== undefined) throw notCsv(place, info.error, columns);
        return fields(cells, place);
      });
      row += 1;
    }
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    const isOpen = cause.code === 'CSV_QUOTE_NOT_CLOSED';
    const line = isOpen ? lines.ofQuote : lines.ofRest(Number(cause.bytes));
    throw notCsv({ file, line }, cause, columns);
  }
}

interface CsvRecord {
  readonly record: Record<string, string>;
  readonly info: { readonly bytes: number; readonly error?: CsvError };
}

function notCsv(place: RowPlace, cause: CsvError, columns: number): BpeftError {
  return datasetError(place, `is not valid CSV: ${complaint(cause, columns)}`, { cause });
}

function complaint(error: CsvError, columns: number): string {
  const cells = Array.isArray(error.record) ? error.record.length : '?';
  switch (error.code) {
    case 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH':
    case 'CSV_RECORD_INCONSISTENT_COLUMNS':
      return `${cells} cells where the header has ${columns} columns (a cell with a separator needs quotes)`;
    case 'CSV_QUOTE_NOT_CLOSED':
      return 'a quote is opened and never closed';
    case 'CSV_MAX_RECORD_SIZE':
      return `a row must not exceed ${MAX_LINE_BYTES} bytes`;
    case 'CSV_INVALID_CLOSING_QUOTE':
    case 'INVALID_OPENING_QUOTE':
      return 'a quote stands inside a cell (write it twice, and the cell in quotes)';
    default:
      return error.message;
  }
}

/** Fields under their own names, other headings trimmed; `false` leaves the column out. */
function columnNames(header: readonly string[], place: RowPlace): (string | false)[] {
  const names = header.map((heading) => fieldNamed(heading) ?? heading.trim());
  const repeated = names.find((name, index) => name !== '' && names.indexOf(name) !== index);
  if (repeated !== undefined)
    throw datasetError(place, `names the column ${JSON.stringify(repeated)} twice`);
  return names.map((name) => (name === '' ? false : name));
}

function fields(cells: Readonly<Record<string, string>>, place: RowPlace): Record<string, unknown> {
  const entries: [string, unknown][] = [];
  const numbered: [number, string][] = [];
  for (const [name, cell] of Object.entries(cells)) {
    const choice = /^choice[ _-]?(\d+)$/i.exec(name);
    if (choice !== null) numbered.push([Number(choice[1]), cell]);
    else if (cell !== '') {
      entries.push([
        name,
        (LIST_FIELDS as readonly string[]).includes(name) ? list(name, cell, place) : cell,
      ]);
    }
  }
  if (numbered.length > 0) entries.push(['choices', numberedChoices(numbered, place)]);
  const row = Object.fromEntries(entries);
  refuseTwoReadings(row, place);
  return row;
}

/** JSON tells the number 1, an index, from the text "1", a label; a cell cannot. */
function refuseTwoReadings({ answer, labels }: Record<string, unknown>, place: RowPlace): void {
  if (typeof answer !== 'string' || !Array.isArray(labels) || !isWholeNumber(answer)) return;
  const label = labels.map(className).indexOf(className(answer));
  if (label < 0 || label === Number(answer)) return;
  throw datasetError(
    place,
    `answer: ${answer} may be the label of choice ${label + 1} or the index of choice ${Number(answer) + 1}`,
    { hint: 'name the column answerKey if it holds labels, or leave the labels out' },
  );
}

function numberedChoices(columns: readonly [number, string][], place: RowPlace): string[] {
  const sorted = columns.toSorted(([a], [b]) => a - b);
  const last = sorted.findLastIndex(([, cell]) => cell !== '');
  // A gap would silently move the index of the answer.
  const gap = sorted.findIndex(([, cell], index) => cell === '' && index < last);
  if (gap >= 0)
    throw datasetError(place, `choice${sorted[gap]?.[0]}: is empty although a later choice is not`);
  return sorted.slice(0, last + 1).map(([, cell]) => cell);
}

function list(field: string, cell: string, place: RowPlace): unknown {
  try {
    return JSON.parse(cell) as unknown;
  } catch (cause) {
    throw datasetError(
      place,
      `${field}: must be a list in JSON, got ${JSON.stringify(cell.slice(0, 60))}`,
      {
        hint: 'write ["first", "second"], or use the columns choice1, choice2, …',
        cause,
      },
    );
  }
}
