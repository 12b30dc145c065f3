/** Of file systems that give no file a second name, such as FAT and some network shares. */

import { readdirSync, readFileSync } from 'node:fs';
import { link } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { FolderLock } from '../../../../ts/run/records/lock.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

vi.mock('node:fs/promises', async (original) => ({
  ...(await original<typeof import('node:fs/promises')>()),
  link: vi.fn(),
}));

const timing = { heartbeatMs: 20, patienceMs: 120 };

function linksFail(code: string): void {
  vi.mocked(link).mockRejectedValue(Object.assign(new Error(`${code}: link`), { code }));
}

it.each(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'])(
  'takes a lock and keeps others out where links end in %s',
  async (code) => {
    linksFail(code);
    const folder = temporaryFolder();
    const lock = await FolderLock.take(folder, { timing });
    expect(readdirSync(folder)).toEqual(['.lock']);
    const holder = JSON.parse(readFileSync(join(folder, '.lock'), 'utf8'));
    expect(holder).toMatchObject({ format: 1, pid: process.pid });
    await lock.requireHeld();
    await expect(FolderLock.take(folder, { timing })).rejects.toMatchObject({
      code: 'BPEFT_RUN_EXISTS',
      message: `process ${process.pid} is writing to ${folder}`,
    });
    await lock.release();
    expect(readdirSync(folder)).toEqual([]);
  },
);

it('is taken by one of many at once', async () => {
  linksFail('EPERM');
  const folder = temporaryFolder();
  const tries = Array.from({ length: 20 }, () => FolderLock.take(folder, { timing }));
  const taken = (await Promise.allSettled(tries)).filter(({ status }) => status === 'fulfilled');
  expect(taken).toHaveLength(1);
  for (const one of taken) if (one.status === 'fulfilled') await one.value.release();
  expect(readdirSync(folder)).toEqual([]);
});

it('is not taken where the disk fails', async () => {
  linksFail('EIO');
  const folder = temporaryFolder();
  await expect(FolderLock.take(folder, { timing })).rejects.toMatchObject({
    code: 'BPEFT_IO',
    message: expect.stringContaining('EIO'),
  });
  expect(readdirSync(folder)).toEqual([]);
});
