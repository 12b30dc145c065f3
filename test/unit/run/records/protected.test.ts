import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { type ProtectedInput, refuseProtected } from '../../../../ts/run/records/protected.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
  mkdirSync(join(folder, 'run/adapter'), { recursive: true });
  mkdirSync(join(folder, 'model'));
  writeFileSync(join(folder, 'run/config.json'), '{"format":1}');
  writeFileSync(join(folder, 'rows.jsonl'), '{}');
  symlinkSync(join(folder, 'rows.jsonl'), join(folder, 'symbolic.jsonl'));
  symlinkSync(folder, join(folder, 'around'));
  linkSync(join(folder, 'rows.jsonl'), join(folder, 'hard.jsonl'));
});

const refused = { code: 'BPEFT_USAGE' };
const inputs = (): ProtectedInput[] => [
  { what: 'the input', path: join(folder, 'rows.jsonl') },
  { what: 'the model', path: join(folder, 'model'), isWhole: true },
  { what: 'nothing', path: undefined },
  { what: 'a dataset', path: 'ARC-Easy' },
];

it.each([
  ['the input', 'rows.jsonl'],
  ['a symbolic link to it', 'symbolic.jsonl'],
  ['a second name of it', 'hard.jsonl'],
  ['the input by another way', 'around/rows.jsonl'],
  ['a file in the model', 'model/answers.jsonl'],
  ["a run's record", 'run/result.json'],
  ["a run's adapter", 'run/adapter'],
  ["a file of a run's adapter", 'run/adapter/adapter_config.json'],
  ["a run's lock", 'run/.lock'],
  ["a run's predictions by another way", 'around/run/predictions/mine.jsonl'],
])('refuses %s', async (_, name) => {
  await expect(refuseProtected(join(folder, name), inputs())).rejects.toMatchObject(refused);
  const short = relative(process.cwd(), join(folder, name));
  await expect(refuseProtected(short, inputs())).rejects.toMatchObject(refused);
});

it.each(['answers.jsonl', 'run/answers.jsonl', 'run/evaluation', 'model-2/x.jsonl', 'rows'])(
  'allows %s',
  async (name) => {
    await expect(refuseProtected(join(folder, name), inputs())).resolves.toBeUndefined();
  },
);

it('refuses a run that holds an input which it would replace', async () => {
  const own = [{ what: 'the adapter', path: join(folder, 'run/adapter') }];
  await expect(refuseProtected(join(folder, 'run'), own)).rejects.toMatchObject(refused);
  const beside = [{ what: 'the model', path: join(folder, 'model') }];
  await expect(refuseProtected(folder, beside)).resolves.toBeUndefined();
});
