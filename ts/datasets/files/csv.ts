/**
 * CSV with a header line, read as a stream; the same fields as JSON Lines.
 *
 * Lists are written as JSON in one cell (`choices`, `labels`), or choices as the columns `choice1`, `choice2`, ….
 * An empty cell is an absent field.
 */

import { pipeline, Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { BpeftError } from '../../errors.ts';
import { datasetError, type RowPlace } from '../rows/dataset-error.ts';
import { MAX_LINE_BYTES, type RawRow } from './jsonl.ts';

const LIST_FIELDS = ['choices', 'labels'] as const;

/** @throws {BpeftError} `BPEFT_DATASET` for bad UTF-8, bad CSV or a bad list, with its line. */
export async function* readCsv(
  chunks: AsyncIterable<Uint8Array>,
  file: string,
): AsyncGenerator<RawRow, void, undefined> {
  const parser = parse({
    bom: true,
    columns: (header: string[]) => checkedHeader(header, file),
    info: true,
    max_record_size: MAX_LINE_BYTES,
    skip_empty_lines: true,
  });
  const records = pipeline(Readable.from(decoded(chunks, file)), parser, () => {});
  let row = 0;
  try {
    for await (const record of records) {
      const { record: cells, info } = record as { record: Record<string, string>; info: { lines: number } };
      yield { value: fields(cells, { file, line: info.lines }), row, line: info.lines };
      row += 1;
    }
  } catch (cause) {
    if (cause instanceof BpeftError) throw cause;
    if (!(cause instanceof CsvError)) throw cause;
    const line = typeof cause.lines === 'number' ? cause.lines : row + 2;
    throw datasetError({ file, line }, `is not valid CSV: ${cause.message}`, { cause });
  }
}

async function* decoded(chunks: AsyncIterable<Uint8Array>, file: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let line = 1;
  for await (const chunk of chunks) {
    yield decode(() => decoder.decode(chunk, { stream: true }));
    for (const byte of chunk) if (byte === 0x0a) line += 1;
  }
  yield decode(() => decoder.decode());

  function decode(step: () => string): string {
    try {
      return step();
    } catch (cause) {
      throw datasetError(file, `is not valid UTF-8 (at or after line ${line})`, {
        hint: 'convert the file to UTF-8',
        cause,
      });
    }
  }
}

function checkedHeader(header: readonly string[], file: string): string[] {
  const names = header.map((name) => name.trim());
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined)
    throw datasetError({ file, line: 1 }, `names the column ${JSON.stringify(repeated)} twice`);
  return names;
}

function fields(cells: Readonly<Record<string, string>>, place: RowPlace): Record<string, unknown> {
  const entries: [string, unknown][] = [];
  const numbered: [number, string][] = [];
  for (const [name, cell] of Object.entries(cells)) {
    const choice = /^choice_?(\d+)$/.exec(name);
    if (choice !== null) numbered.push([Number(choice[1]), cell]);
    else if (cell !== '') {
      entries.push([
        name,
        (LIST_FIELDS as readonly string[]).includes(name) ? list(name, cell, place) : cell,
      ]);
    }
  }
  if (numbered.length > 0) entries.push(['choices', numberedChoices(numbered, place)]);
  return Object.fromEntries(entries);
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
    throw datasetError(place, `${field}: must be a list in JSON, got ${JSON.stringify(cell.slice(0, 60))}`, {
      hint: 'write ["first", "second"], or use the columns choice1, choice2, …',
      cause,
    });
  }
}
