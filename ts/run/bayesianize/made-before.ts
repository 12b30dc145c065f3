/** Which folder `bpeft bayesianize` may replace, one that it has made itself; and its lock. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BpeftError } from '../../errors.ts';
import { CARD_MARK } from '../../report/card.ts';
import { readAdapterRecord } from '../records/adapter-record.ts';
import { FolderLock, isOfLock, type LockOptions } from '../records/lock.ts';
import { OUT } from '../records/writable.ts';

/** What an adapter's folder may hold; a folder with anything else is never replaced. */
const OWN_NAMES =
  /^(adapter_config\.json|adapter_model\.safetensors|bpeft\.json|README\.md|adapter_\d+)$/;

/**
 * @throws {BpeftError} `BPEFT_RUN_EXISTS`: it holds what was not made so, or what was and is not to
 * be replaced
 */
export async function requireMade(out: string, overwrite: boolean): Promise<void> {
  const names = await readdir(out).catch((): string[] => []);
  const held = names.filter((name) => !isOfLock(name));
  if (held.length === 0) return;
  const foreign = held.find((name) => !OWN_NAMES.test(name));
  if (foreign !== undefined)
    throw kept(`${out} holds ${foreign}, which is no part of an adapter, and is not replaced`);
  const record = await readAdapterRecord(out).catch(() => null);
  if (record?.made_of === undefined)
    throw kept(`${out} holds what bayesianize has not made, and is not replaced`);
  if (held.includes('README.md') && !(await isCard(join(out, 'README.md'))))
    throw kept(`${out} holds a README.md that was not written by bpeft, and is not replaced`);
  if (!overwrite) throw kept(`${out} already holds an adapter`, `${OUT.remedy}, or --overwrite`);
}

/** Keeps other processes out of the folder. @throws {BpeftError} as {@link requireMade} does */
export async function lockMade(
  { out, overwrite }: { readonly out: string; readonly overwrite: boolean },
  options: LockOptions,
): Promise<FolderLock> {
  const lock = await FolderLock.take(out, options);
  try {
    await requireMade(out, overwrite); // of what may have come in the meantime
    return lock;
  } catch (error) {
    await lock.release();
    throw error;
  }
}

function kept(message: string, hint = OUT.remedy): BpeftError {
  return new BpeftError('BPEFT_RUN_EXISTS', message, { hint });
}

async function isCard(path: string): Promise<boolean> {
  return (await readFile(path, 'utf8')).includes(CARD_MARK);
}
