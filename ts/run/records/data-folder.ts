/** Folders that hold rows, where an outcome would become a split. */

import { readdir } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { formatOf, hasSplitName, isSplitFile } from '../../datasets/files/file-formats.ts';
import { BpeftError } from '../../errors.ts';
import { OUT, type PlaceWords } from './writable.ts';

/**
 * @throws {BpeftError} `BPEFT_USAGE`: `out` is a folder of splits, or a file beside them that would
 *   be read as one more.
 */
export async function refuseDataFolder(
  out: string,
  kind: 'file' | 'folder',
  { place, remedy }: PlaceWords = OUT,
): Promise<void> {
  if (kind === 'file' && formatOf(out) === null) return;
  const folder = kind === 'file' ? dirname(resolve(out)) : out;
  const names = await readdir(folder).catch(() => []);
  const split = names.find(
    (name) => isSplitFile(name) && hasSplitName(name) && name !== basename(out),
  );
  if (split === undefined) return;
  const message =
    kind === 'file'
      ? `${place} ${out} would become a split of the dataset beside it, which holds ${split}`
      : `${place} ${out} is a folder of rows, which holds ${split}`;
  throw new BpeftError('BPEFT_USAGE', message, { hint: `${remedy}, in another folder` });
}
