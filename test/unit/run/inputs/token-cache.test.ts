import { chmodSync, readdirSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ExamplePacker } from '../../../../ts/datasets/tokens/packed-examples.ts';
import { keptExamples } from '../../../../ts/run/inputs/token-cache.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const size = { rows: 1, bytes: 100 };
const example = (token: number) => ({
  row: 0,
  id: null,
  noise: 0,
  ids: Uint32Array.of(token),
  answers: Uint32Array.of(1, 2),
  label: 0,
  truncated: false,
});

let home = '';
let filled = 0;

beforeEach(() => {
  home = temporaryFolder();
  filled = 0;
  vi.stubEnv('BPEFT_HOME', home);
});
afterEach(() => vi.unstubAllEnvs());

const fill = async (packer: ExamplePacker): Promise<void> => {
  filled += 1;
  await packer.append([example(filled)]);
};

const tokenOf = async (key: object | null, heldBytes = 0): Promise<number | undefined> => {
  const { examples } = await keptExamples(key, size, fill, heldBytes);
  return (await examples.read([0]))[0]?.ids[0];
};

const files = (): string[] => readdirSync(join(home, 'tokens'));

it('finds the tokens of an earlier run by all that decides them', async () => {
  expect([await tokenOf({ a: 1 }), await tokenOf({ a: 1 }), await tokenOf({ a: 2 })]).toEqual([
    1, 1, 2,
  ]);
  expect(files()).toHaveLength(2);
});

it('keeps small splits in memory, and writes nothing', async () => {
  expect([await tokenOf({ a: 1 }, 101), await tokenOf({ a: 1 }, 101)]).toEqual([1, 2]);
  expect(readdirSync(home)).toEqual([]);
});

it('looks for none where it is not known what decides them, and leaves none', async () => {
  expect([await tokenOf(null), await tokenOf(null)]).toEqual([1, 2]);
  expect(files()).toEqual([]);
});

it('makes a file again that is not whole', async () => {
  await tokenOf({ a: 1 });
  truncateSync(join(home, 'tokens', files()[0] ?? ''), 8);
  expect([await tokenOf({ a: 1 }), await tokenOf({ a: 1 })]).toEqual([2, 2]);
});

it('leaves nothing behind where the rows are refused', async () => {
  const refused = keptExamples({ a: 1 }, size, () => Promise.reject(new Error('a bad row')), 0);
  await expect(refused).rejects.toThrow('a bad row');
  expect(files()).toEqual([]);
});

it('removes what a killed process has left a day ago, and nothing of another one that still writes', async () => {
  await tokenOf({ a: 1 });
  for (const [name, ageDays] of [
    ['.bpeft-old.tmp', 2],
    ['.bpeft-new.tmp', 0],
  ] as const) {
    const path = join(home, 'tokens', name);
    writeFileSync(path, '');
    const used = Date.now() / 1000 - ageDays * 24 * 3600;
    utimesSync(path, used, used);
  }
  await tokenOf({ a: 2 });
  expect(files().filter((name) => name.endsWith('.tmp'))).toEqual(['.bpeft-new.tmp']);
});

it.skipIf(process.getuid?.() === 0)('works where the folder cannot be written', async () => {
  chmodSync(home, 0o500);
  expect(await tokenOf({ a: 1 })).toBe(1);
});

it('works where there is no such folder', async () => {
  writeFileSync(join(home, 'file'), '');
  vi.stubEnv('BPEFT_HOME', join(home, 'file'));
  expect([await tokenOf({ a: 1 }), await tokenOf({ a: 1 })]).toEqual([1, 2]);
});
