import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { requireWritable } from '../../../../ts/run/records/writable.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

it('takes what is not there yet, at any depth, and what can be replaced', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'old.jsonl'), '');
  await requireWritable(join(folder, 'runs/a/b'), 'folder');
  await requireWritable(folder, 'folder');
  await requireWritable(join(folder, 'runs/new.jsonl'), 'file');
  await requireWritable(join(folder, 'old.jsonl'), 'file');
});

it.each([
  ['a/file', 'folder', 'a/file is no folder'],
  ['a/file/run', 'folder', 'a/file is no folder'],
  ['a/file/x.jsonl', 'file', 'a/file is no folder'],
  ['a', 'file', 'a is no file'],
  ['/dev/null', 'file', '/dev/null is no file'], // for root, a rename would replace the device
] as const)('refuses %s as a %s', async (path, kind, message) => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'a'));
  writeFileSync(join(folder, 'a/file'), '');
  const asked = path.startsWith('/') ? path : join(folder, path);
  await expect(requireWritable(asked, kind)).rejects.toMatchObject({
    code: 'BPEFT_IO',
    message: expect.stringContaining(message),
  });
});

it.skipIf(process.getuid?.() === 0)('refuses a folder without the right to write', async () => {
  const folder = temporaryFolder();
  chmodSync(folder, 0o555);
  const refused = expect.objectContaining({
    code: 'BPEFT_IO',
    message: expect.stringContaining('EACCES'),
  });
  await expect(requireWritable(join(folder, 'run'), 'folder')).rejects.toEqual(refused);
  await expect(requireWritable(join(folder, 'x.jsonl'), 'file')).rejects.toEqual(refused);
});
