/** Rows from texts, as files hold them. */

import { expect } from 'vitest';
import { datasetFromStream } from '../../ts/datasets/registry.ts';
import type { TaskFamily } from '../../ts/datasets/rows/item.ts';
import { BpeftError } from '../../ts/errors.ts';

type Format = 'jsonl' | 'csv';

async function* bytes(text: string | Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  const all = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  for (let start = 0; start < all.length; start += step) yield all.subarray(start, start + step);
}

/** The rows of a file of this text, in pieces of `step` bytes. */
export function read(
  text: string | Uint8Array,
  {
    format = 'jsonl',
    family = 'multiple-choice',
    labels = null,
    step = 7,
    isPredicted = false,
  }: {
    format?: Format;
    family?: TaskFamily;
    labels?: string[] | null;
    step?: number;
    isPredicted?: boolean;
  } = {},
) {
  return datasetFromStream({
    name: `rows.${format}`,
    stream: bytes(text, step),
    format,
    family,
    labels,
    isPredicted,
  });
}

/** Why they are refused. */
export async function complaint(...args: Parameters<typeof read>): Promise<string> {
  const error = await read(...args).then(
    () => new Error('read it'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BpeftError);
  expect((error as BpeftError).code).toBe('BPEFT_DATASET');
  return (error as BpeftError).message;
}

/** JSON Lines. */
export const lines = (...rows: unknown[]): string =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join('');
