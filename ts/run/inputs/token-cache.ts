/**
 * Tokens of large splits, kept on disk, so that neither rows nor tokens fill the memory and the
 * next run with the same rows, tokenizer and template starts from them.
 *
 * The folder is `$BPEFT_HOME/tokens`, else `bpeft/tokens` in `$XDG_CACHE_HOME` or `~/.cache`. Where
 * it cannot be written, the tokens live in the system's temporary folder as long as the process.
 */

import { createHash, randomUUID } from 'node:crypto';
import { access, constants, mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { endianness, tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheHome } from '../../cache-home.ts';
import { ExamplePacker, PackedExamples } from '../../datasets/tokens/packed-examples.ts';
import { FileWords, MemoryWords } from '../../datasets/tokens/words.ts';

/** Splits of fewer bytes stay in memory: they are tokenised in seconds. */
const HELD_BYTES = 32 * 1024 * 1024;

/** What all splits together may take; the ones that were not used for longest go. */
const KEPT_BYTES = 16 * 1024 ** 3;

export interface Kept {
  readonly examples: PackedExamples;
  /** The file that was written now; null: memory, or tokens of an earlier run. */
  readonly written: string | null;
}

/**
 * The examples that `fill` packs, or those that an earlier run has packed for the same key.
 *
 * @param key everything that decides which tokens come out; null: that is not known, so none are
 * looked for
 * @param size rows, and the bytes that they are read from
 * @param fill appends every example
 * @param heldBytes splits of fewer stay in memory
 */
export async function keptExamples(
  key: object | null,
  { rows, bytes }: { readonly rows: number; readonly bytes: number },
  fill: (packer: ExamplePacker) => Promise<void>,
  heldBytes = HELD_BYTES,
): Promise<Kept> {
  if (bytes < heldBytes) {
    const packer = new ExamplePacker(rows, new MemoryWords());
    await fill(packer);
    return { examples: await packer.finish(), written: null };
  }
  const folder = await cacheFolder();
  const path = folder === null || key === null ? null : join(folder, `${keyName(key)}.tokens`);
  const found = path === null ? null : await opened(path);
  if (found !== null) return { examples: found, written: null };
  const temporary = join(folder ?? tmpdir(), `.bpeft-${randomUUID()}.tmp`);
  const words = await FileWords.create(temporary);
  try {
    if (folder !== null) await makeRoom(folder);
    const packer = new ExamplePacker(rows, words);
    await fill(packer);
    const examples = await packer.finish();
    if (path !== null) await rename(temporary, path);
    return { examples, written: path };
  } finally {
    // The descriptor stays open: without a name, the file goes with it.
    await rm(temporary, { force: true });
  }
}

function keyName(key: object): string {
  const text = JSON.stringify({ ...key, format: 2, endianness: endianness() });
  return createHash('sha256').update(text).digest('hex').slice(0, 40);
}

/** Null: there is none that can be written. */
async function cacheFolder(): Promise<string | null> {
  const folder = join(cacheHome(), 'tokens');
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await access(folder, constants.W_OK | constants.X_OK);
    return folder;
  } catch {
    return null;
  }
}

/** Null: not there, or not whole. */
async function opened(path: string): Promise<PackedExamples | null> {
  try {
    const found = await PackedExamples.open(path);
    const now = new Date();
    if (found !== null) await utimes(path, now, now);
    return found;
  } catch {
    return null;
  }
}

const DAY_MS = 24 * 3600 * 1000;

/** Removes what was not used for longest, and what a killed process has left. */
async function makeRoom(folder: string): Promise<void> {
  const files: { path: string; size: number; usedMs: number }[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const info = await stat(path).catch(() => null);
    if (info === null) continue;
    const isLeft = name.startsWith('.bpeft-') && Date.now() - info.mtimeMs > DAY_MS;
    if (isLeft) await rm(path, { force: true });
    else if (name.endsWith('.tokens')) files.push({ path, size: info.size, usedMs: info.mtimeMs });
  }
  let total = 0;
  for (const { path, size } of files.toSorted((a, b) => b.usedMs - a.usedMs)) {
    total += size;
    if (total > KEPT_BYTES) await rm(path, { force: true });
  }
}
