import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { resolveDataset } from '../../../ts/datasets/registry.ts';
import { mayOverlap } from '../../../ts/datasets/split-part.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

async function source() {
  const folder = temporaryFolder();
  const lines = Array.from({ length: 7 }, (_, row) =>
    JSON.stringify({ text: `text ${row}`, label: 'ab'[row % 2] }),
  );
  for (const split of ['train', 'validation'])
    writeFileSync(join(folder, `${split}.jsonl`), lines.join('\n'));
  return resolveDataset(folder);
}

async function rowsOf(split: string, limit?: number): Promise<number[]> {
  const data = await source();
  const streamed = await data.stream(split, { limit });
  const rows: number[] = [];
  for await (const { row } of streamed.items()) rows.push(row);
  const { items } = await data.load(split, { limit });
  expect(items.map(({ row }) => row)).toEqual(rows);
  expect([streamed.rows, streamed.split]).toEqual([rows.length, split]);
  return rows;
}

it.each([
  ['validation[:50%]', [0, 1, 2]],
  ['validation[50%:]', [3, 4, 5, 6]],
  ['train[:80%]', [0, 1, 2, 3, 4]],
  ['train[80%:]', [5, 6]],
  ['train[2:4]', [2, 3]],
  ['train[5:100]', [5, 6]],
  ['train[:]', [0, 1, 2, 3, 4, 5, 6]],
] as const)('reads %s as the rows %j, by their lines in the file', async (split, rows) => {
  expect(await rowsOf(split)).toEqual(rows);
});

it('limits a part from its own start', async () => {
  expect(await rowsOf('validation[50%:]', 2)).toEqual([3, 4]);
});

it.each([
  ['validation[101%:]', 'a bound must be at most 100%, got 101%'],
  ['validation[7:]', 'validation[7:]: holds no rows: validation has 7'],
  ['tests[:5]', 'unknown split "tests"'],
])('refuses %s', async (split, message) => {
  await expect((await source()).stream(split)).rejects.toThrow(message);
});

it.each([
  ['validation[:50%]', 'validation[50%:]', false],
  ['validation[:51%]', 'validation[50%:]', true],
  ['validation', 'validation[50%:]', true],
  ['train', 'validation[50%:]', false],
  ['test[:500]', 'test[500:]', false],
  ['test[:500]', 'test[50%:]', true],
])('says of %s and %s whether rows may be in both: %s', (first, second, expected) => {
  expect([mayOverlap(first, second), mayOverlap(second, first)]).toEqual([expected, expected]);
});
