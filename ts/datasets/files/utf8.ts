/** Bytes as text, as a stream. */

import { isUtf8 } from 'node:buffer';
import { datasetError } from '../rows/dataset-error.ts';

const NEWLINE = 0x0a;

/**
 * A byte order mark is left out. @throws {BpeftError} `BPEFT_DATASET` for bad UTF-8, with the line.
 */
export async function* decoded(
  chunks: AsyncIterable<Uint8Array>,
  file: string,
): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 1;
  let before: Uint8Array = new Uint8Array();
  for await (const chunk of chunks) {
    yield decode(() => decoder.decode(chunk, { stream: true }), chunk);
    for (const byte of chunk) if (byte === NEWLINE) line += 1;
    before = unfinished(Buffer.concat([before, chunk.subarray(-3)]));
  }
  yield decode(() => decoder.decode(), new Uint8Array());

  function decode(step: () => string, chunk: Uint8Array): string {
    try {
      return step();
    } catch (cause) {
      const place = { file, line: line + linesBeforeBad(Buffer.concat([before, chunk])) };
      throw datasetError(place, 'is not valid UTF-8', {
        hint: 'convert the file to UTF-8',
        cause,
      });
    }
  }
}

/** The character that the bytes begin at their end, in UTF-8 (RFC 3629, section 3). */
function unfinished(bytes: Uint8Array): Uint8Array {
  for (let length = 1; length <= Math.min(3, bytes.length); length += 1) {
    const byte = bytes.at(-length) ?? 0;
    if (byte >> 6 === 0b10) continue;
    const whole = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length < whole ? bytes.slice(-length) : new Uint8Array();
  }
  return new Uint8Array();
}

/** No character of several bytes holds a line end. */
function linesBeforeBad(bytes: Uint8Array): number {
  let [lines, start] = [0, 0];
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
    if (!isUtf8(bytes.subarray(start, end))) break;
    lines += 1;
    start = end + 1;
  }
  return lines;
}
