import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ANSWERING_METHODS } from '../../../ts/methods/ids.ts';

const folder = join(import.meta.dirname, '../../../docs/methods');
const others = ['README', 'comparing', 'temperature'];

it('has a page and a row for each method', () => {
  const pages = readdirSync(folder).map((name) => name.replace(/\.md$/, ''));
  expect(pages.sort()).toEqual([...ANSWERING_METHODS, ...others].sort());
  const text = readFileSync(join(folder, 'README.md'), 'utf8');
  const rows = [...text.matchAll(/^\| \[`([\w-]+)`\]\(\1\.md\)/gm)].map(([, method]) => method);
  expect(rows.sort()).toEqual([...ANSWERING_METHODS].sort());
});
