import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FolderLock, type Holder } from '../../../../ts/run/records/lock.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const timing = { heartbeatMs: 20, patienceMs: 120 };

/** A folder whose lock names the holder that `change` makes of this process. */
async function lockedBy(change: Partial<Holder>): Promise<string> {
  const folder = temporaryFolder();
  const lock = await FolderLock.take(folder, { timing });
  const path = join(folder, '.lock');
  const own = JSON.parse(readFileSync(path, 'utf8')) as Holder;
  await lock.release();
  writeFileSync(path, JSON.stringify({ ...own, token: 'other', ...change }));
  return folder;
}

async function takeAndRelease(folder: string): Promise<string[]> {
  const told: string[] = [];
  const lock = await FolderLock.take(folder, { timing, notice: (message) => told.push(message) });
  await lock.release();
  expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
  return told;
}

it('keeps others out until it is released, and leaves nothing behind', async () => {
  const folder = join(temporaryFolder(), 'made', 'on the way');
  const lock = await FolderLock.take(folder, { timing });
  await expect(FolderLock.take(folder, { timing })).rejects.toMatchObject({
    code: 'BPEFT_RUN_EXISTS',
    message: `process ${process.pid} is writing to ${folder}`,
  });
  await lock.release();
  expect(existsSync(folder)).toBe(false);
  await takeAndRelease(folder);
  mkdirSync(folder);
  await takeAndRelease(folder);
  expect(existsSync(folder)).toBe(true);
});

it("takes over a lock that names this process's number but another beginning", async () => {
  const told = await takeAndRelease(await lockedBy({ started: '1' }));
  expect(told).toEqual([expect.stringContaining(`lock of process ${process.pid}, which is gone`)]);
});

it('takes over the lock of a process that was killed', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await once(child, 'spawn');
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  const folder = await lockedBy({ pid: child.pid ?? 0, started });
  await expect(FolderLock.take(folder, { timing })).rejects.toMatchObject({
    code: 'BPEFT_RUN_EXISTS',
  });
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  expect(await takeAndRelease(folder)).toHaveLength(1);
});

it('takes over the lock of this host before it started anew', async () => {
  expect(await takeAndRelease(await lockedBy({ boot: 'an earlier one' }))).toHaveLength(1);
});

it.each([
  ['another host', { host: 'elsewhere', boot: 'theirs' }],
  ['another container of this machine', { namespace: 'pid:[1]', pid: 1 }],
  ['a system that tells no process by its beginning', { boot: null, host: 'elsewhere' }],
])('waits for the heartbeat of %s', async (_, change) => {
  const dead = await lockedBy(change);
  const told = await takeAndRelease(dead);
  expect(told).toEqual([expect.stringContaining('waiting'), expect.stringContaining('gone')]);

  const living = await lockedBy(change);
  const path = join(living, '.lock');
  const heart = setInterval(() => utimesSync(path, new Date(), new Date()), 15);
  await expect(FolderLock.take(living, { timing })).rejects.toMatchObject({
    code: 'BPEFT_RUN_EXISTS',
  });
  clearInterval(heart);
});

it.each(['', '1\n', '{"format":2}'])(
  'waits for the heartbeat of a lock that holds %j',
  async (text) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, '.lock'), text);
    expect(await takeAndRelease(folder)).toHaveLength(2);
  },
);

it('has a heartbeat', async () => {
  const folder = await lockedBy({ host: 'elsewhere' });
  const path = join(folder, '.lock');
  await using _ = await FolderLock.take(folder, { timing });
  utimesSync(path, 1, 1);
  await expect.poll(() => statSync(path).mtimeMs).toBeGreaterThan(1_000_000);
});

it('is taken by one of many that find it dead at once', async () => {
  const folder = await lockedBy({ started: '1' });
  const tries = Array.from({ length: 20 }, () => FolderLock.take(folder, { timing }));
  const taken = (await Promise.allSettled(tries)).filter(({ status }) => status === 'fulfilled');
  expect(taken).toHaveLength(1);
  for (const one of taken) if (one.status === 'fulfilled') await one.value.release();
});

it('knows when it was taken over, and does not remove what is not its own', async () => {
  const folder = temporaryFolder();
  const lock = await FolderLock.take(folder, { timing });
  await lock.requireHeld();
  const path = join(folder, '.lock');
  const other = { ...(JSON.parse(readFileSync(path, 'utf8')) as Holder), token: 'other', pid: 7 };
  writeFileSync(path, JSON.stringify(other));
  await expect(lock.requireHeld()).rejects.toMatchObject({ code: 'BPEFT_RUN_EXISTS' });
  await lock.release();
  expect(existsSync(path)).toBe(true);
});

it('stops waiting when it is aborted', async () => {
  const folder = await lockedBy({ host: 'elsewhere' });
  const taking = FolderLock.take(folder, {
    timing: { heartbeatMs: 20, patienceMs: 60_000 },
    signal: AbortSignal.timeout(50),
  });
  await expect(taking).rejects.toMatchObject({ code: 'BPEFT_ABORTED' });
});
