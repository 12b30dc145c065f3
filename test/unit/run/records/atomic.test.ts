import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ioError, replaceFile, replaceFolder } from '../../../../ts/run/records/atomic.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

it('replaces a file and leaves nothing beside it', async () => {
  const folder = temporaryFolder();
  const path = join(folder, 'result.json');
  await replaceFile(path, 'old');
  await replaceFile(path, 'new');
  expect(readFileSync(path, 'utf8')).toBe('new');
  expect(readdirSync(folder)).toEqual(['result.json']);
});

it('keeps what was there when writing fails', async () => {
  const folder = temporaryFolder();
  const path = join(folder, 'result.json');
  mkdirSync(path); // a folder of that name cannot be replaced by a file
  await expect(replaceFile(path, 'new')).rejects.toMatchObject({ code: 'BPEFT_IO' });
  expect(readdirSync(folder)).toEqual(['result.json']);
});

it('keeps the old folder whole when filling the new one fails', async () => {
  const path = join(temporaryFolder(), 'step-10');
  await replaceFolder(path, async (temporary) => writeFileSync(join(temporary, 'a'), 'old'));
  const failing = replaceFolder(path, async (temporary) => {
    writeFileSync(join(temporary, 'a'), 'half');
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  });
  await expect(failing).rejects.toMatchObject({
    code: 'BPEFT_IO',
    hint: expect.stringContaining('the disk is full'),
  });
  expect(readFileSync(join(path, 'a'), 'utf8')).toBe('old');
  expect(readdirSync(join(path, '..'))).toEqual(['step-10']);
});

it('starts from an empty folder, whatever a killed run left', async () => {
  const parent = temporaryFolder();
  mkdirSync(join(parent, '.step-10.tmp'));
  writeFileSync(join(parent, '.step-10.tmp', 'stale'), '');
  await replaceFolder(join(parent, 'step-10'), async (temporary) =>
    writeFileSync(join(temporary, 'a'), ''),
  );
  expect(readdirSync(join(parent, 'step-10'))).toEqual(['a']);
  expect(existsSync(join(parent, '.step-10.tmp'))).toBe(false);
});

it('keeps the code of an error that is already one of ours', () => {
  const error = ioError('x', new Error('plain'));
  expect(error.code).toBe('BPEFT_IO');
  expect(ioError('y', error)).toBe(error);
});
