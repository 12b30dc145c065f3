import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { speakFlags } from '../../../../ts/errors.ts';
import { refuseDataFolder } from '../../../../ts/run/records/data-folder.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

beforeAll(speakFlags);

it.each(['train.jsonl', 'validation.CSV', 'test.json', 'train_s.tsv'])(
  'writes neither a run nor another file of rows beside %s',
  async (split) => {
    const data = temporaryFolder();
    writeFileSync(join(data, split), '');
    for (const [out, kind] of [
      [data, 'folder'],
      [join(data, 'answers.jsonl'), 'file'],
      [join(data, 'answers.csv'), 'file'],
    ] as const) {
      await expect(refuseDataFolder(out, kind)).rejects.toMatchObject({
        code: 'BPEFT_USAGE',
        message: expect.stringContaining(split),
        hint: 'give another --out, in another folder',
      });
    }
    await refuseDataFolder(join(data, 'runs', 'first'), 'folder');
    await refuseDataFolder(join(data, 'answers.out'), 'file');
    await refuseDataFolder(join(data, 'below', 'answers.jsonl'), 'file');
  },
);

it("writes into a run's folder, and beside files that are no splits", async () => {
  const run = temporaryFolder();
  for (const name of ['metrics.jsonl', 'curves.csv', 'test.txt'])
    writeFileSync(join(run, name), '');
  await refuseDataFolder(run, 'folder');
  await refuseDataFolder(join(run, 'answers.jsonl'), 'file');
});
