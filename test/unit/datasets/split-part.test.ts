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

it('cuts a split into folds that hold each row once, by the order that numpy gives', async () => {
  const folds = await Promise.all([1, 2, 3].map((fold) => rowsOf(`train[fold ${fold}/3]`)));
  // numpy.random.default_rng(42).permutation(7) is 3 2 6 4 1 5 0.
  expect(folds).toEqual([
    [2, 3, 6],
    [1, 4],
    [0, 5],
  ]);
  expect(folds.flat().toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  for (const [at, fold] of folds.entries()) {
    const others = await rowsOf(`train[!fold ${at + 1}/3]`);
    expect([...others, ...fold].toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  }
});

it('limits a part from its own start', async () => {
  expect(await rowsOf('validation[50%:]', 2)).toEqual([3, 4]);
});

it.each([
  ['validation[101%:]', 'a bound must be at most 100%, got 101%'],
  ['validation[7:]', 'validation[7:]: holds no rows: validation has 7'],
  ['train[fold 4/3]', 'a fold must be one of 1 to 3, of at least 2, got 4/3'],
  ['train[fold 8/9]', 'train[fold 8/9]: holds no rows: train has 7'],
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
  ['train[fold 1/3]', 'train[fold 2/3]', false],
  ['train[fold 1/3]', 'train[!fold 1/3]', false],
  ['train[!fold 1/3]', 'train[fold 2/3]', true],
  ['train[fold 1/3]', 'train[:50%]', true],
  ['train[fold 1/3]', 'train', true],
])('says of %s and %s whether rows may be in both: %s', (first, second, expected) => {
  expect([mayOverlap(first, second), mayOverlap(second, first)]).toEqual([expected, expected]);
});
