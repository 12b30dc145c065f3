import { truncateSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { EncodedExample } from '../../../../ts/datasets/tokens/encode.ts';
import { ExamplePacker, PackedExamples } from '../../../../ts/datasets/tokens/packed-examples.ts';
import { FileWords, MemoryWords } from '../../../../ts/datasets/tokens/words.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const [TWO, THREE] = [Uint32Array.of(70, 71), Uint32Array.of(70, 71, 72)];

const EXAMPLES: EncodedExample[] = Array.from({ length: 1500 }, (_, index) => ({
  row: 2 * index,
  id: index % 3 === 0 ? null : `ünique-${index}`.slice(0, 1 + (index % 9)),
  ids: Uint32Array.from({ length: 1 + (index % 40) }, (_, at) => 2 ** 32 - 1 - index * 41 - at),
  answers: index % 2 === 0 ? TWO : THREE,
  noise: 2 ** 32 - 1 - index,
  label: (index % 4) - 1,
  truncated: index % 5 === 0,
}));

async function inFile(path: string): Promise<PackedExamples> {
  const packer = new ExamplePacker(EXAMPLES.length, await FileWords.create(path));
  await packer.append(EXAMPLES.slice(0, 1000));
  await packer.append(EXAMPLES.slice(1000));
  return packer.finish();
}

it.each(['memory', 'a file', 'a file that is opened again'])(
  'gives back what was packed, from %s',
  async (where) => {
    const path = join(temporaryFolder(), 'x.tokens');
    const packer = new ExamplePacker(EXAMPLES.length, new MemoryWords());
    await packer.append(EXAMPLES);
    const written = where === 'memory' ? await packer.finish() : await inFile(path);
    const examples =
      where === 'a file that is opened again' ? await PackedExamples.open(path) : written;
    if (examples === null) return expect.fail();
    const all = await examples.read(Uint32Array.from(EXAMPLES.keys()));
    expect(all).toEqual(EXAMPLES);
    expect(await examples.read([1499, 0, 7, 7])).toEqual([1499, 0, 7, 7].map((at) => EXAMPLES[at]));
    expect(await examples.read([])).toEqual([]);
    expect(examples.length).toBe(1500);
    expect([...examples.lengths]).toEqual(EXAMPLES.map(({ ids }) => ids.length));
    expect([...examples.labels]).toEqual(EXAMPLES.map(({ label }) => label));
    expect([...examples.rows]).toEqual(EXAMPLES.map(({ row }) => row));
    expect(examples.truncated).toBe(300);
    await expect(examples.read([1500])).rejects.toThrow(RangeError);
  },
);

it('knows a file that is not whole', async () => {
  const path = join(temporaryFolder(), 'x.tokens');
  await inFile(path);
  const { size } = await stat(path);
  for (const length of [size - 4, size - 1, size - 400, 8, 0]) {
    const cut = join(temporaryFolder(), 'cut.tokens');
    await inFile(cut);
    truncateSync(cut, length);
    expect(await PackedExamples.open(cut)).toBeNull();
  }
  const other = join(temporaryFolder(), 'other');
  writeFileSync(other, 'no tokens at all');
  expect(await PackedExamples.open(other)).toBeNull();
});

it('says so where the file becomes shorter while it is used', async () => {
  const path = join(temporaryFolder(), 'x.tokens');
  const examples = await inFile(path);
  truncateSync(path, 100);
  await expect(examples.read([1000])).rejects.toMatchObject({
    code: 'BPEFT_IO',
    message: expect.stringContaining('has become shorter'),
  });
});
