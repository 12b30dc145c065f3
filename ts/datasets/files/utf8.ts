/** Bytes as text, as a stream. */

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
  for await (const chunk of chunks) {
    yield decode(() => decoder.decode(chunk, { stream: true }));
    for (const byte of chunk) if (byte === NEWLINE) line += 1;
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
