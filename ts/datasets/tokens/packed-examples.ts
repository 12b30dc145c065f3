/**
 * Examples as columns of numbers: 28 bytes a row in memory, the tokens in memory or in a file.
 *
 * ```text
 * words of row b      tokens, then (only where the row has an id) its length in bytes and its UTF-8, padded
 * starts (n+1)        row b = words[starts[b]..starts[b+1]]
 * lengths (n)         tokens of row b
 * firsts (n)          those before the first one of type 1
 * labels (n), rows (n), noise (n)
 * kinds (n)           2 · list of answers + (1 where the prompt was cut)
 * ```
 *
 * A word is 4 bytes. A file holds the words, the columns in this order, the lists of answers as
 * JSON, and last its length, the number of rows (both 32-bit) and the magic number.
 */

import type { EncodedExample, EncodedHead } from './encode.ts';
import { FileWords, type MemoryWords, type Words } from './words.ts';

/** Rows whose tokens are read when they are needed. */
export interface Examples {
  readonly length: number;
  /** (n) tokens of each prompt. */
  readonly lengths: Uint32Array;
  /** (n) class, −1 = none. */
  readonly labels: Int32Array;
  /** (n) 0-based line in the split. */
  readonly rows: Uint32Array;
  /** Rows whose prompt was cut. */
  readonly truncated: number;
  read(positions: ArrayLike<number>): Promise<EncodedExample[]>;
}

/** A split's prompts as tokens, read when they are needed. */
export interface EncodedSplit extends EncodedHead {
  readonly examples: Examples;
}

const MAGIC = 0x7e_bf_0002;
const FOOTER_WORDS = 3;

/** Collects examples row by row. */
export class ExamplePacker {
  readonly #words: MemoryWords | FileWords;
  readonly #starts: Uint32Array;
  readonly #lengths: Uint32Array;
  readonly #firsts: Uint32Array;
  readonly #labels: Int32Array;
  readonly #rows: Uint32Array;
  readonly #noise: Uint32Array;
  readonly #kinds: Uint32Array;
  readonly #answers: Uint32Array[] = [];
  readonly #lists = new Map<Uint32Array, number>();
  #count = 0;

  /** @param rows how many will come */
  constructor(rows: number, words: MemoryWords | FileWords) {
    this.#words = words;
    this.#starts = new Uint32Array(rows + 1);
    this.#lengths = new Uint32Array(rows);
    this.#firsts = new Uint32Array(rows);
    this.#labels = new Int32Array(rows);
    this.#rows = new Uint32Array(rows);
    this.#noise = new Uint32Array(rows);
    this.#kinds = new Uint32Array(rows);
  }

  get count(): number {
    return this.#count;
  }

  async append(examples: readonly EncodedExample[]): Promise<void> {
    const records = examples.flatMap(({ ids, id }) => (id === null ? [ids] : [ids, idWords(id)]));
    for (const { ids, first, id, row, noise, label, answers, truncated } of examples) {
      const at = this.#count;
      const words = ids.length + (id === null ? 0 : idWords(id).length);
      this.#starts[at + 1] = (this.#starts[at] ?? 0) + words;
      this.#lengths[at] = ids.length;
      this.#firsts[at] = first ?? ids.length;
      this.#labels[at] = label;
      this.#rows[at] = row;
      this.#noise[at] = noise;
      this.#kinds[at] = 2 * this.#listOf(answers) + (truncated ? 1 : 0);
      this.#count += 1;
    }
    await this.#words.append(records);
  }

  /** With a file: writes what is beside the words. The examples are then complete. */
  async finish(): Promise<PackedExamples> {
    const answers = this.#answers;
    const columns = {
      starts: this.#starts,
      lengths: this.#lengths,
      firsts: this.#firsts,
      labels: this.#labels,
    };
    const all = { ...columns, rows: this.#rows, noise: this.#noise, kinds: this.#kinds };
    if (this.#words instanceof FileWords) {
      const text = textWords(JSON.stringify(answers.map((list) => [...list])));
      const footer = Uint32Array.of(text.length, this.#count, MAGIC);
      const words = Object.values(all).map(({ buffer }) => new Uint32Array(buffer));
      await this.#words.append([...words, text, footer]);
    }
    return new PackedExamples(this.#words, all, answers);
  }

  #listOf(answers: Uint32Array): number {
    let list = this.#lists.get(answers);
    if (list === undefined) {
      list = this.#answers.push(answers) - 1;
      this.#lists.set(answers, list);
    }
    return list;
  }
}

interface Columns {
  readonly starts: Uint32Array;
  readonly lengths: Uint32Array;
  readonly firsts: Uint32Array;
  readonly labels: Int32Array;
  readonly rows: Uint32Array;
  readonly noise: Uint32Array;
  readonly kinds: Uint32Array;
}

export class PackedExamples implements Examples {
  readonly length: number;
  readonly lengths: Uint32Array;
  readonly labels: Int32Array;
  readonly rows: Uint32Array;
  readonly truncated: number;
  readonly #words: Words;
  readonly #columns: Columns;
  readonly #answers: readonly Uint32Array[];

  constructor(words: Words, columns: Columns, answers: readonly Uint32Array[]) {
    this.#words = words;
    this.#columns = columns;
    this.#answers = answers;
    this.length = columns.rows.length;
    this.lengths = columns.lengths;
    this.labels = columns.labels;
    this.rows = columns.rows;
    this.truncated = columns.kinds.reduce((sum, kind) => sum + (kind & 1), 0);
  }

  /** What {@link ExamplePacker} has written; null: it is not whole. */
  static async open(path: string): Promise<PackedExamples | null> {
    const words = await FileWords.open(path);
    const end = words.length - FOOTER_WORDS;
    if (end < 0) return null;
    const [textLength = 0, count = 0, magic] = await words.read(end, words.length);
    const columnsLength = 7 * count + 1;
    const begin = end - textLength - columnsLength;
    if (magic !== MAGIC || begin < 0) return null;
    const all = await words.read(begin, begin + columnsLength);
    const column = (index: number): Uint32Array =>
      all.slice(1 + index * count, 1 + (index + 1) * count);
    const columns = {
      starts: all.slice(0, count + 1),
      lengths: column(1),
      firsts: column(2),
      labels: new Int32Array(column(3).buffer),
      rows: column(4),
      noise: column(5),
      kinds: column(6),
    };
    if (columns.starts.at(-1) !== begin) return null;
    const text = await words.read(end - textLength, end);
    const answers = JSON.parse(textOf(text)) as number[][];
    return new PackedExamples(
      words,
      columns,
      answers.map((list) => Uint32Array.from(list)),
    );
  }

  /** @throws {RangeError} for a position that there is not. */
  async read(positions: ArrayLike<number>): Promise<EncodedExample[]> {
    const { starts } = this.#columns;
    const wanted = Array.from(positions);
    if (wanted.some((position) => !(position >= 0 && position < this.length))) {
      throw new RangeError(`positions must be below ${this.length}`);
    }
    const first = wanted[0] ?? 0;
    const isRun = wanted.every((position, index) => position === first + index);
    if (!isRun)
      return Promise.all(wanted.map(async (at) => this.#example(at, await this.#wordsOf(at))));
    const base = starts[first] ?? 0;
    const words = await this.#words.read(base, starts[first + wanted.length] ?? base);
    return wanted.map((at) =>
      this.#example(at, words.subarray((starts[at] ?? 0) - base, (starts[at + 1] ?? 0) - base)),
    );
  }

  #wordsOf(position: number): Promise<Uint32Array> {
    const { starts } = this.#columns;
    return this.#words.read(starts[position] ?? 0, starts[position + 1] ?? 0);
  }

  #example(position: number, words: Uint32Array): EncodedExample {
    const tokens = this.lengths[position] ?? 0;
    const kind = this.#columns.kinds[position] ?? 0;
    const first = this.#columns.firsts[position] ?? tokens;
    const id = words.subarray(tokens);
    return {
      row: this.rows[position] ?? 0,
      noise: this.#columns.noise[position] ?? 0,
      id: id.length === 0 ? null : textOf(id),
      ids: words.slice(0, tokens),
      ...(first === tokens ? {} : { first }),
      answers: this.#answers[kind >> 1] ?? new Uint32Array(),
      label: this.labels[position] ?? -1,
      truncated: (kind & 1) === 1,
    };
  }
}

const idWords = textWords;

/** The text's length in bytes, then its UTF-8, padded to whole words. */
function textWords(text: string): Uint32Array {
  const bytes = Buffer.from(text);
  const words = new Uint32Array(1 + Math.ceil(bytes.length / 4));
  words[0] = bytes.length;
  new Uint8Array(words.buffer, 4).set(bytes);
  return words;
}

function textOf(words: Uint32Array): string {
  const { buffer, byteOffset } = words;
  return Buffer.from(buffer, byteOffset + 4, words[0] ?? 0).toString();
}
