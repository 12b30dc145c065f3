import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../../support/snippets.ts';
import { engineSources, pages, scriptSources } from '../../support/source-files.ts';

const MOST = 400;

/** Tables of measurements that are read side by side, each row with its command. */
const MEASUREMENTS = ['docs/performance.md', 'docs/results.md'];

function linesOf(file: string): number {
  return readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length;
}

it('has no file of more than 400 lines but pages of measurements', () => {
  const files = [...engineSources(), ...scriptSources(), ...pages()];
  const isLong = (file: string) => linesOf(file) > MOST;
  expect(files.filter((file) => isLong(file) && !MEASUREMENTS.includes(file))).toEqual([]);
  expect(MEASUREMENTS.filter(isLong)).toEqual(MEASUREMENTS);
});
