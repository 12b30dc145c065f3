/**
 * Whether a file or folder can be written at a path, asked before the work whose outcome goes
 * there.
 */

import { access, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BpeftError } from '../../errors.ts';
import { ioError } from './atomic.ts';

type Kind = 'file' | 'folder' | 'neither';

/** How the caller named the place, and how another one is named. */
export interface PlaceWords {
  readonly place: string;
  readonly remedy: string;
}

export const OUT: PlaceWords = { place: '--out', remedy: 'give another --out' };

/**
 * @throws {BpeftError} `BPEFT_IO`: something else lies there or on the way, or the rights are
 * missing.
 */
export async function requireWritable(
  path: string,
  kind: 'file' | 'folder',
  { remedy }: PlaceWords = OUT,
): Promise<void> {
  const found = await nearestExisting(path);
  const needed = found.path === path ? kind : 'folder';
  if (found.kind !== needed) {
    throw new BpeftError('BPEFT_IO', `cannot write ${path}: ${found.path} is no ${needed}`, {
      hint: remedy,
    });
  }
  // A file is replaced by renaming another one over it, which is up to its folder.
  const folder = found.kind === 'folder' ? found.path : dirname(found.path);
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw ioError(path, error);
  }
}

/** The path itself, or the closest one above it that is there. */
async function nearestExisting(path: string): Promise<{ path: string; kind: Kind }> {
  try {
    const info = await stat(path);
    return { path, kind: info.isDirectory() ? 'folder' : info.isFile() ? 'file' : 'neither' };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const above = dirname(path);
    if (above === path || (code !== 'ENOENT' && code !== 'ENOTDIR')) throw ioError(path, error);
    return nearestExisting(above);
  }
}
