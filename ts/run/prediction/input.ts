/** What is answered: a file's bytes, or rows as they come. */

import { BpeftError } from '../../errors.ts';
import type { PredictRow } from './row.ts';

export interface PredictInput {
  /** For messages: the file's name, or `<stdin>`. One that ends in `.csv` makes the stream CSV. */
  readonly name: string;
  /** Where the stream comes from, if it is a file: `out` must not be the same. */
  readonly path?: string | undefined;
  /** JSON Lines or CSV, UTF-8, in the fields of a dataset's rows; no answer is needed. */
  readonly stream: AsyncIterable<Uint8Array>;
}

/** Rows in the fields of a dataset's, without the answer. */
export type PredictRows = Iterable<PredictRow> | AsyncIterable<PredictRow>;

/** @throws {BpeftError} `BPEFT_USAGE`: it is neither */
export function asInput(input: PredictInput | PredictRows): PredictInput {
  if (typeof input === 'object' && input !== null) {
    if ('stream' in input) return input;
    if (Symbol.iterator in input || Symbol.asyncIterator in input)
      return { name: 'input', stream: asLines(input) };
  }
  throw new BpeftError('BPEFT_USAGE', 'input must be rows, or { name, stream } of a file', {
    hint: 'give [{ text: "…" }], or { name: "rows.jsonl", stream: createReadStream("rows.jsonl") }',
  });
}

async function* asLines(rows: PredictRows): AsyncGenerator<Uint8Array> {
  for await (const row of rows) yield Buffer.from(`${JSON.stringify(row)}\n`);
}
