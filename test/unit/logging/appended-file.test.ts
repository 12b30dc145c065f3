import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { AppendedFile } from '../../../ts/logging/appended-file.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const bytes = (text: string) => Buffer.from(text);

it('holds bytes for others, and writes them in order without being asked', async () => {
  const path = join(temporaryFolder(), 'log');
  const file = await AppendedFile.create(path, 20);
  for (const text of ['a', 'b', 'c']) file.append(bytes(text));
  expect(readFileSync(path, 'utf8')).toBe('');
  await expect.poll(() => readFileSync(path, 'utf8')).toBe('abc');
  await file.close();
});

it('waits for nothing when it is flushed or closed', async () => {
  const path = join(temporaryFolder(), 'log');
  const file = await AppendedFile.create(path, 3_600_000);
  file.append(bytes('a'));
  await file.flush();
  expect(readFileSync(path, 'utf8')).toBe('a');
  file.append(bytes('b'));
  await file.close();
  expect(readFileSync(path, 'utf8')).toBe('ab');
});
