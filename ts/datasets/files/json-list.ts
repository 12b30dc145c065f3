/**
 * A JSON list of rows, `[{…}, {…}]`, read as a stream: one element is held at a time.
 *
 * Commas and the closing bracket that stand outside of strings, objects and inner lists end an
 * element.
 */

import { datasetError, type RowPlace } from '../rows/dataset-error.ts';
import { parseWithDigits } from './json-numbers.ts';
import { type BadRow, MAX_LINE_BYTES, type RawRow, rowOrError } from './jsonl.ts';
import { decoded } from './utf8.ts';

/**
 * @throws {BpeftError} `BPEFT_DATASET` for bad UTF-8, a list that does not end, or an overlong row,
 * with its line.
 */
export async function* readJsonList(
  chunks: AsyncIterable<Uint8Array>,
  file: string,
): AsyncGenerator<RawRow | BadRow, void, undefined> {
  const splitter = new ListSplitter(file);
  let row = 0;
  for await (const text of decoded(chunks, file)) {
    for (const { text: element, line } of splitter.push(text)) {
      const place = { file, line, number: row + 1 };
      yield rowOrError({ row, place }, () => parsed(element, place));
      row += 1;
    }
  }
  splitter.end();
}

interface Element {
  readonly text: string;
  /** Where it begins, 1-based. */
  readonly line: number;
}

class ListSplitter {
  readonly #file: string;
  #state: 'before' | 'inside' | 'after' = 'before';
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #pending = '';
  #line = 1;
  #elementLine = 0;

  constructor(file: string) {
    this.#file = file;
  }

  *push(text: string): Generator<Element, void, undefined> {
    let start = 0;
    for (let index = 0; index < text.length; index += 1) {
      const character = text[index] ?? '';
      if (character === '\n') this.#line += 1;
      if (this.#state === 'before') {
        if (character === '[') {
          this.#state = 'inside';
          start = index + 1;
        }
      } else if (this.#state === 'after') {
        if (character.trim() !== '') throw this.#error('nothing may follow the list');
      } else {
        if (this.#elementLine === 0 && character.trim() !== '') this.#elementLine = this.#line;
        if (this.#endsElement(character)) {
          const element = this.#pending + text.slice(start, index);
          if (element.trim() !== '') yield { text: element, line: this.#elementLine };
          else if (character === ',') throw this.#error('an element is missing before a comma');
          this.#pending = '';
          this.#elementLine = 0;
          start = index + 1;
          if (character === ']') this.#state = 'after';
        }
      }
    }
    if (this.#state !== 'inside') return;
    this.#pending += text.slice(start);
    if (this.#pending.length > MAX_LINE_BYTES) {
      throw datasetError(
        { file: this.#file, line: this.#elementLine },
        `a row must not exceed ${MAX_LINE_BYTES} characters`,
      );
    }
  }

  end(): void {
    if (this.#state === 'inside') throw this.#error('the list does not end: no closing ]');
  }

  #endsElement(character: string): boolean {
    if (this.#isInString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (character === '\\') this.#isEscaped = true;
      else if (character === '"') this.#isInString = false;
      return false;
    }
    if (character === '"') this.#isInString = true;
    else if (character === '{' || character === '[') this.#depth += 1;
    else if (character === '}' || character === ']') {
      if (this.#depth === 0) return character === ']';
      this.#depth -= 1;
    }
    return character === ',' && this.#depth === 0;
  }

  #error(reason: string) {
    return datasetError({ file: this.#file, line: this.#line }, `is not valid JSON: ${reason}`);
  }
}

function parsed(text: string, place: RowPlace): unknown {
  try {
    return parseWithDigits(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw datasetError(place, `is not valid JSON: ${reason}`, { cause });
  }
}
