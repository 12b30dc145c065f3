/**
 * JSON Lines, read as a stream: one object per line, UTF-8, LF or CRLF, a byte order mark ignored.
 *
 * Blank lines are skipped but counted, so that a row's number stays its line.
 */

import { BpeftError } from '../../errors.ts';
import { datasetError, type RowPlace } from '../rows/dataset-error.ts';
import { parseWithDigits } from './json-numbers.ts';

/** A record of a file and its place. */
export interface RawRow {
  readonly value: unknown;
  /**
   * 0-based, blank lines (and the CSV header) not shifting it: JSONL line − 1, CSV record number.
   */
  readonly row: number;
  readonly place: RowPlace;
}

/** What stands where a row should be; the rows after it can be read all the same. */
export interface BadRow {
  readonly error: BpeftError;
  readonly row: number;
  readonly place: RowPlace;
}

/** Longest line that is read; nothing beyond it is held in memory. */
export const MAX_LINE_BYTES = 16 * 1024 * 1024;

const NEWLINE = 0x0a;

/** @throws {BpeftError} `BPEFT_DATASET` for an overlong line. */
export async function* readJsonl(
  chunks: AsyncIterable<Uint8Array>,
  file: string,
): AsyncGenerator<RawRow | BadRow, void, undefined> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let line = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      line += 1;
      checkLength(pendingBytes + end - start, file, line);
      const found = rowOf(joined(pending, chunk.subarray(start, end)), file, line);
      pending = [];
      pendingBytes = 0;
      start = end + 1;
      if (found !== null) yield found;
    }
    if (start < chunk.length) {
      pending.push(chunk.slice(start));
      pendingBytes += chunk.length - start;
      checkLength(pendingBytes, file, line + 1);
    }
  }
  if (pendingBytes === 0) return;
  line += 1;
  const found = rowOf(joined(pending, new Uint8Array()), file, line);
  if (found !== null) yield found;
}

/** Null: a blank line. */
function rowOf(bytes: Uint8Array, file: string, line: number): RawRow | BadRow | null {
  const found = rowOrError({ row: line - 1, place: { file, line } }, () =>
    parseLine(bytes, file, line),
  );
  return 'value' in found && found.value === undefined ? null : found;
}

/** A row, or the complaint about it; what is no complaint about rows is thrown. */
export function rowOrError(
  record: { row: number; place: RowPlace },
  parse: () => unknown,
): RawRow | BadRow {
  try {
    return { ...record, value: parse() };
  } catch (error) {
    if (error instanceof BpeftError) return { ...record, error };
    throw error;
  }
}

function checkLength(bytes: number, file: string, line: number): void {
  if (bytes <= MAX_LINE_BYTES) return;
  throw datasetError({ file, line }, `a line must not exceed ${MAX_LINE_BYTES} bytes`, {
    hint: 'is this JSON Lines? it needs one object per line',
  });
}

function joined(pending: readonly Uint8Array[], last: Uint8Array): Uint8Array {
  return pending.length === 0 ? last : Buffer.concat([...pending, last]);
}

function parseLine(bytes: Uint8Array, file: string, line: number): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: line > 1 }).decode(bytes);
  } catch (cause) {
    throw datasetError({ file, line }, 'is not valid UTF-8', {
      hint: 'convert the file to UTF-8',
      cause,
    });
  }
  if (text.trim() === '') return undefined;
  try {
    return parseWithDigits(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw datasetError({ file, line }, `is not valid JSON: ${reason}`, {
      hint: 'each line must be one whole JSON object, or the file one list of them',
      cause,
    });
  }
}
