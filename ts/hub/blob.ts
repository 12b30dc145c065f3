/**
 * Downloads one file under a temporary name, from where the last attempt stopped, and gives it its
 * final name when its hash is the one that the Hub lists.
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Response } from 'undici';
import { BpeftError, throwIfAborted } from '../errors.ts';
import { flushFolder, io } from '../run/records/atomic.ts';
import { sha256OfFiles } from '../threads/sha256.ts';
import type { Hub } from './environment.ts';
import type { HubFile } from './listing.ts';
import type { RepositoryId } from './repository.ts';
import { ATTEMPTS, backoff, HubUnreachable, patience, reasonOf, request } from './request.ts';

export interface Download {
  readonly hub: Hub;
  readonly id: RepositoryId;
  readonly url: string;
  readonly file: HubFile;
  readonly signal?: AbortSignal | undefined;
  /** Hears how many bytes of the file are here. */
  readonly tell: (bytes: number) => void;
}

/** What of a blob has come so far. */
export function partOf(blob: string): string {
  return `${blob}.bpeft.incomplete`;
}

/**
 * Leaves a whole file at `path`, or what came so far at {@link partOf} it.
 * @throws {BpeftError} what {@link request} throws; `BPEFT_IO`: the disk, or twice another hash
 */
export async function downloadBlob(path: string, download: Download): Promise<void> {
  const { file, signal, tell } = download;
  const part = partOf(path);
  await io(path, () => mkdir(dirname(path), { recursive: true }));
  for (let isSecond = false; ; isSecond = true) {
    await complete(part, download);
    if ((await hashOf(part, file, signal)) === file.etag) break;
    await rm(part, { force: true });
    tell(0);
    if (!isSecond) continue;
    throw new BpeftError(
      'BPEFT_IO',
      `${file.path} of ${download.id.repository} came twice with another hash than the Hub lists`,
      { hint: 'a proxy or mirror may alter it; nothing of it was kept' },
    );
  }
  await io(path, async () => {
    await rename(part, path);
    await flushFolder(dirname(path));
  });
}

/** Asks for what is missing until the part is as long as the file. */
async function complete(part: string, download: Download): Promise<void> {
  const { hub, id, url, file, signal, tell } = download;
  let reason = 'it sends nothing';
  for (let failures = 0; failures < ATTEMPTS; ) {
    const before = await lengthOf(part);
    if (before > file.bytes) await rm(part, { force: true });
    const have = before > file.bytes ? 0 : before;
    tell(have);
    if (have === file.bytes && (have > 0 || failures > 0)) return;
    if (failures > 0) await patience(backoff(failures), signal);
    const headers: Record<string, string> = have > 0 ? { range: `bytes=${have}-` } : {};
    const answer = await request(hub, url, { id, headers, signal });
    try {
      await append(part, answer.status === 206 ? have : 0, answer, download);
    } catch (error) {
      throwIfAborted(signal);
      // The disk's failure; the network's is a TypeError of `fetch`.
      if (error instanceof Error && 'syscall' in error)
        throw diskError(part, error as NodeJS.ErrnoException);
      reason = reasonOf(error);
    }
    const now = await lengthOf(part);
    if (now === file.bytes) return tell(now);
    const isFurther = now > have && now < file.bytes;
    failures = isFurther ? 1 : failures + 1;
  }
  throw new HubUnreachable(hub, `${file.path} breaks off, ${reason}`);
}

async function append(
  part: string,
  start: number,
  answer: Response,
  { file, tell }: Download,
): Promise<void> {
  const handle = await open(part, start === 0 ? 'w' : 'r+');
  try {
    let at = start;
    for await (const chunk of answer.body ?? []) {
      const bytes = chunk as Uint8Array;
      await handle.write(bytes, 0, bytes.length, at);
      at += bytes.length;
      if (at > file.bytes) break; // longer than listed: not this file
      tell(at);
    }
  } finally {
    await handle.sync().finally(() => handle.close());
  }
}

/** What came so far stays. */
function diskError(part: string, cause: NodeJS.ErrnoException): BpeftError {
  const isFull = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(cause.code ?? '');
  return new BpeftError('BPEFT_IO', `${part}: ${cause.message}`, {
    hint: isFull
      ? 'the disk is full: free some space, or set HF_HOME to a larger one, and run again to go on'
      : 'check that you may write there, or set HF_HOME to another folder',
    cause,
  });
}

async function lengthOf(part: string): Promise<number> {
  return (await stat(part).catch(() => null))?.size ?? 0;
}

/** A file in LFS is known by its SHA-256, others by git's: SHA-1("blob <bytes>\0" + content). */
async function hashOf(
  part: string,
  file: HubFile,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  if (file.hash === 'sha256') return (await sha256OfFiles([part], { signal }))[0];
  const hash = createHash('sha1').update(`blob ${file.bytes}\0`);
  for await (const chunk of createReadStream(part)) {
    throwIfAborted(signal);
    hash.update(chunk as Uint8Array);
  }
  return hash.digest('hex');
}
