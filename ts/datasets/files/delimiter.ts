/**
 * What separates the columns of a CSV file: spreadsheets write `,`, `;` or tabs, as their country
 * has it.
 *
 * A first line `sep=;` says so, as Excel writes and reads it; else it is the one of the three that
 * stands most often in the header, outside of quotes; else a comma.
 */

import { datasetError } from '../rows/dataset-error.ts';
import { MAX_LINE_BYTES } from './jsonl.ts';

const DELIMITERS = [',', ';', '\t'] as const;

export interface Dialect {
  readonly delimiter: string;
  /** Lines before the header: 1 for `sep=`. */
  readonly skippedLines: number;
  /** The text from the header on. */
  readonly rest: AsyncGenerator<string>;
}

export async function dialectOf(texts: AsyncGenerator<string>, file: string): Promise<Dialect> {
  let head = '';
  const lineEnd = /\r\n?|\n/;
  // One character more, as a CR at the end may be half of CR LF.
  while (!lineEnd.test(head.slice(0, -1))) {
    const next = await texts.next();
    if (next.done === true) break;
    head += next.value;
    if (head.length > MAX_LINE_BYTES) throw datasetError(file, 'the header does not end');
  }
  const first = head.split(lineEnd, 1)[0] ?? '';
  const stated = /^"?sep=(.)"?$/i.exec(first)?.[1];
  const begun = stated === undefined ? head : head.slice(first.length).replace(lineEnd, '');
  async function* rest(): AsyncGenerator<string> {
    yield begun;
    yield* texts;
  }
  return {
    delimiter: stated ?? mostFrequent(first),
    skippedLines: stated === undefined ? 0 : 1,
    rest: rest(),
  };
}

function mostFrequent(header: string): string {
  const bare = header.replace(/"[^"]*"/g, '');
  const counts = DELIMITERS.map((delimiter) => bare.split(delimiter).length - 1);
  const most = Math.max(...counts);
  return DELIMITERS[counts.indexOf(most)] ?? ',';
}
