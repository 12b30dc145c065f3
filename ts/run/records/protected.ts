/** Where a command may not write: over its own inputs, and among the files of a run. */

import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { BpeftError } from '../../errors.ts';
import { folderContents, RUN_NAMES } from './folder-contents.ts';
import { isOfLock } from './lock.ts';
import { OUT, type PlaceWords } from './writable.ts';

export interface ProtectedInput {
  /** For the message: `the input`, `the model`. */
  readonly what: string;
  /** A file or a folder; undefined where there is none. */
  readonly path: string | undefined;
  /** Whether no file may be written into the folder either. */
  readonly isWhole?: boolean;
}

/** @throws {BpeftError} `BPEFT_USAGE`: `out` is one of the inputs, or belongs to a run. */
export async function refuseProtected(
  out: string,
  inputs: readonly ProtectedInput[],
  words: PlaceWords = OUT,
): Promise<void> {
  const place = await realPlace(out);
  for (const { what, path, isWhole = false } of inputs) {
    if (path === undefined || (await identity(path)) === null) continue;
    const own = await realPlace(path);
    const isInside = isWhole && place.startsWith(own + sep);
    // A folder that a run replaces loses what has a name of a run's.
    const [entry = ''] = relative(place, own).split(sep);
    const holds = own.startsWith(place + sep) && isOfRun(entry);
    if (place === own || isInside || holds || (await isSameFile(out, path))) {
      const around = isInside ? 'lies inside' : 'holds';
      const how = isInside || holds ? `${around} ${what}, ${path}` : `is ${what}`;
      throw new BpeftError('BPEFT_USAGE', `${words.place} ${out} ${how}, which would be replaced`, {
        hint: words.remedy,
      });
    }
  }
  for (let run = dirname(place); ; run = dirname(run)) {
    const [entry = ''] = relative(run, place).split(sep);
    if (isOfRun(entry) && ['training', 'evaluation'].includes(folderContents(run).kind)) {
      const message = `${words.place} ${out} is among the files of the run ${run}`;
      throw new BpeftError('BPEFT_USAGE', message, { hint: 'give a path outside of it' });
    }
    if (run === dirname(run)) return;
  }
}

function isOfRun(name: string): boolean {
  return isOfLock(name) || RUN_NAMES.some((own) => own === name);
}

/** The path without symbolic links, as far as it exists. */
async function realPlace(path: string): Promise<string> {
  const full = resolve(path);
  try {
    return await realpath(full);
  } catch {
    const above = dirname(full);
    return above === full ? full : join(await realPlace(above), basename(full));
  }
}

async function isSameFile(one: string, other: string): Promise<boolean> {
  const identities = [await identity(one), await identity(other)];
  return identities[0] !== null && identities[0] === identities[1];
}

/** Two names of one file have the same; null: nothing is there. */
async function identity(path: string): Promise<string | null> {
  const info = await stat(path).catch(() => null);
  return info === null ? null : `${info.dev}:${info.ino}`;
}
