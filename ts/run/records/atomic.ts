/**
 * Files that are either whole or as they were before: written under another name, flushed, renamed,
 * and the folder flushed, so that neither a kill nor a full disk leaves half a file.
 */

import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { BpeftError } from '../../errors.ts';
import { fileJson } from './json.ts';

/**
 * Replaces `path` by `content`. @throws {BpeftError} `BPEFT_IO`; the old file is then untouched.
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array | AsyncIterable<string>,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  await io(path, async () => {
    try {
      await writeFile(temporary, content, { flush: true });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await flushFolder(dirname(path));
  });
}

/** Under the names that files use. */
export async function replaceJson(path: string, value: unknown): Promise<void> {
  await replaceFile(path, `${fileJson(value, 2)}\n`);
}

/**
 * Makes the folder `path` whole or not at all: `fill` writes into a folder with a temporary name,
 * which then takes the place of what was there.
 *
 * @param temporary unless given, one that a killed run may have left, so that the folder around it
 * must be a run's own
 */
export async function replaceFolder(
  path: string,
  fill: (temporary: string) => Promise<void>,
  temporary = join(dirname(path), `.${basename(path)}.tmp`),
): Promise<void> {
  await io(path, async () => {
    await rm(temporary, { recursive: true, force: true });
    try {
      await mkdir(temporary, { recursive: true });
      await fill(temporary);
      await flushFolder(temporary);
      await rm(path, { recursive: true, force: true });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
    await flushFolder(dirname(path));
  });
}

/** Makes renames in the folder last. */
export async function flushFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A file system's failure as `BPEFT_IO` with its path; a `BpeftError` passes. */
export async function io<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw ioError(path, error);
  }
}

export function ioError(path: string, error: unknown): BpeftError {
  if (error instanceof BpeftError) return error;
  const code = (error as { code?: unknown } | null)?.code;
  const full = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
  const reason = error instanceof Error ? error.message : String(error);
  return new BpeftError('BPEFT_IO', `${path}: ${reason}`, {
    hint: full
      ? 'the disk is full: free some space and run again with --resume; the last checkpoint is whole'
      : 'check that the path exists and that you may read and write it',
    cause: error,
  });
}
