/**
 * Parts of splits by name: `validation[50%:]`, `train[:80%]`, `test[:500]`, as in Hugging Face's datasets. A
 * bound is a number of rows or a whole percentage, rounded down; the rows keep their lines in the file.
 */

import { datasetError } from './rows/dataset-error.ts';
import type { Item, RowStream } from './rows/item.ts';

export interface SplitPart {
  readonly split: string;
  /** Of n rows, the first one and the one after the last. */
  bounds(rows: number): readonly [from: number, to: number];
}

const PART = /^(.+)\[(\d+%?)?:(\d+%?)?\]$/;

/** Null: the name is that of a whole split. @throws {BpeftError} `BPEFT_DATASET`: more than 100 %. */
export function splitPart(name: string): SplitPart | null {
  const [, split, from, to] = PART.exec(name) ?? [];
  if (split === undefined) return null;
  const wrong = [from, to].find((bound) => bound?.endsWith('%') && Number.parseInt(bound, 10) > 100);
  if (wrong !== undefined) throw datasetError(name, `a bound must be at most 100%, got ${wrong}`);
  return { split, bounds: (rows) => [bound(from ?? '0', rows), bound(to ?? '100%', rows)] };
}

/** Sizes of a split at which parts are compared: bounds in rows and in percent meet at one of them. */
const SIZES = [10, 100, 1000, 1_000_000];

/** Whether two names of splits of one dataset stand for some of the same rows, whatever its size. */
export function mayOverlap(first: string, second: string): boolean {
  const [one, other] = [splitPart(first), splitPart(second)];
  if ((one?.split ?? first) !== (other?.split ?? second)) return false;
  if (one === null || other === null) return true;
  return SIZES.some((rows) => {
    const [from, to] = one.bounds(rows);
    const [otherFrom, otherTo] = other.bounds(rows);
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
export function partOfRows(whole: RowStream, name: string, part: SplitPart, limit = Infinity): RowStream {
  const { from, to } = range(whole, name, part, limit);
  return {
    ...whole,
    split: name,
    rows: to - from,
    bytes: Math.ceil((whole.bytes * (to - from)) / whole.rows),
    items: () => between(whole.items(), from, to),
  };
}

/** The same of rows in memory. */
export function partOfItems<D extends { readonly items: readonly Item[]; readonly name: string }>(
  whole: D,
  name: string,
  part: SplitPart,
  limit = Infinity,
): D {
  const { from, to } = range({ ...whole, rows: whole.items.length }, name, part, limit);
  return { ...whole, split: name, items: whole.items.slice(from, to) };
}

function range(
  { name, rows }: { readonly name: string; readonly rows: number },
  split: string,
  part: SplitPart,
  limit: number,
): { from: number; to: number } {
  const [from, end] = part.bounds(rows);
  const to = Math.min(end, from + limit);
  if (to > from) return { from, to };
  throw datasetError(`${name} ${split}`, `holds no rows: ${part.split} has ${rows}`);
}

async function* between(items: AsyncIterable<Item>, from: number, to: number): AsyncGenerator<Item> {
  let index = 0;
  for await (const item of items) {
    if (index >= from) yield item;
    index += 1;
    if (index >= to) return;
  }
}
