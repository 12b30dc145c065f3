/**
 * Parts of splits by name; the rows keep their lines in the file.
 *
 * ```text
 * train[:80%], test[:500]      as in Hugging Face's datasets: rows, or whole percentages, rounded down
 * train[fold 2/5]              the second of five parts of numpy.random.default_rng(42).permutation(n)
 * train[!fold 2/5]             all others; the first n mod 5 folds hold one row more
 * ```
 */

import { numpyPermutation } from '../batches/numpy-permutation.ts';
import { datasetError } from './rows/dataset-error.ts';
import type { Item, RowStream } from './rows/item.ts';

export interface SplitPart {
  readonly split: string;
  /** Of n rows, those of the part, in their order. */
  positions(rows: number): Uint32Array;
  /** The first one and the one after the last; null: they do not follow each other. */
  readonly bounds: ((rows: number) => readonly [from: number, to: number]) | null;
}

const PART = /^(.+)\[(\d+%?)?:(\d+%?)?\]$/;
const FOLD = /^(.+)\[(!?)fold (\d+)\/(\d+)\]$/;
/** The folds are the same whatever the run's seed. */
const FOLD_SEED = 42;

/**
 * Null: the name is that of a whole split. @throws {BpeftError} `BPEFT_DATASET`: more than 100 %,
 * or no such fold.
 */
export function splitPart(name: string): SplitPart | null {
  const fold = FOLD.exec(name);
  if (fold !== null) return foldPart(name, fold);
  const [, split, from, to] = PART.exec(name) ?? [];
  if (split === undefined) return null;
  const wrong = [from, to].find(
    (bound) => bound?.endsWith('%') && Number.parseInt(bound, 10) > 100,
  );
  if (wrong !== undefined) throw datasetError(name, `a bound must be at most 100%, got ${wrong}`);
  const bounds = (rows: number) => [bound(from ?? '0', rows), bound(to ?? '100%', rows)] as const;
  return {
    split,
    bounds,
    positions: (rows) => {
      const [first, end] = bounds(rows);
      return Uint32Array.from({ length: Math.max(0, end - first) }, (_, index) => first + index);
    },
  };
}

function foldPart(name: string, [, split = '', not, index, count]: RegExpExecArray): SplitPart {
  const [fold, folds] = [Number(index), Number(count)];
  if (folds < 2 || fold < 1 || fold > folds) {
    throw datasetError(
      name,
      `a fold must be one of 1 to ${Math.max(folds, 2)}, of at least 2, got ${index}/${count}`,
    );
  }
  return {
    split,
    bounds: null,
    positions: (rows) => {
      const order = numpyPermutation(rows, FOLD_SEED);
      const start = (at: number) => at * Math.floor(rows / folds) + Math.min(at, rows % folds);
      const [from, to] = [start(fold - 1), start(fold)];
      const held = order.subarray(from, to);
      return not === '' ? held.slice().sort() : without(order, from, to).sort();
    },
  };
}

function without(order: Uint32Array, from: number, to: number): Uint32Array {
  const others = new Uint32Array(order.length - (to - from));
  others.set(order.subarray(0, from));
  others.set(order.subarray(to), from);
  return others;
}

/**
 * Sizes of a split at which parts are compared: bounds in rows and in percent meet at one of them.
 */
const SIZES = [10, 100, 1000, 1_000_000];
/** Folds meet others at the first of these, if at all. */
const SIZES_OF_FOLDS = [10, 100, 1000];

/**
 * Whether two names of splits of one dataset stand for some of the same rows, whatever its size.
 */
export function mayOverlap(first: string, second: string): boolean {
  const [one, other] = [splitPart(first), splitPart(second)];
  if ((one?.split ?? first) !== (other?.split ?? second)) return false;
  if (one === null || other === null) return true;
  const [bounds, otherBounds] = [one.bounds, other.bounds];
  if (bounds === null || otherBounds === null) {
    return SIZES_OF_FOLDS.some((rows) => {
      const held = new Set(one.positions(rows));
      return other.positions(rows).some((position) => held.has(position));
    });
  }
  return SIZES.some((rows) => {
    const [from, to] = bounds(rows);
    const [otherFrom, otherTo] = otherBounds(rows);
    return Math.max(from, otherFrom) < Math.min(to, otherTo);
  });
}

function bound(text: string, rows: number): number {
  const number = Number.parseInt(text, 10);
  return Math.min(rows, text.endsWith('%') ? Math.floor((rows * number) / 100) : number);
}

/**
 * The rows of a part, at most `limit` of them.
 * @throws {BpeftError} `BPEFT_DATASET`: there are none.
 */
export function partOfRows(
  whole: RowStream,
  name: string,
  part: SplitPart,
  limit = Infinity,
): RowStream {
  const positions = positionsOf(whole, name, part, limit);
  const { length } = positions;
  return {
    ...whole,
    split: name,
    rows: length,
    bytes: Math.ceil((whole.bytes * length) / whole.rows),
    items: () => chosen(whole.items(), positions),
  };
}

/** The same of rows in memory. */
export function partOfItems<D extends { readonly items: readonly Item[]; readonly name: string }>(
  whole: D,
  name: string,
  part: SplitPart,
  limit = Infinity,
): D {
  const { items } = whole;
  const positions = new Set(positionsOf({ ...whole, rows: items.length }, name, part, limit));
  return { ...whole, split: name, items: items.filter((_, index) => positions.has(index)) };
}

function positionsOf(
  { name, rows }: { readonly name: string; readonly rows: number },
  split: string,
  part: SplitPart,
  limit: number,
): Uint32Array {
  const positions = part.positions(rows).subarray(0, Math.min(limit, rows));
  if (positions.length > 0) return positions;
  throw datasetError(`${name} ${split}`, `holds no rows: ${part.split} has ${rows}`);
}

async function* chosen(items: AsyncIterable<Item>, positions: Uint32Array): AsyncGenerator<Item> {
  let [index, found] = [0, 0];
  for await (const item of items) {
    if (index === positions[found]) {
      yield item;
      found += 1;
      if (found === positions.length) return;
    }
    index += 1;
  }
}
