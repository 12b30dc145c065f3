/**
 * One repository in the cache that Python's `huggingface_hub` keeps too.
 *
 * ```text
 * models--org--name/blobs/<etag>                the files, each once
 * models--org--name/snapshots/<commit>/<path>   links to blobs
 * models--org--name/refs/<revision>             the commit that a branch or tag was last seen at
 * .locks/models--org--name/                     locks; of datasets likewise in datasets--org--name
 * ```
 */

import { mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { BpeftError, throwIfAborted } from '../errors.ts';
import { io, replaceFile } from '../run/records/atomic.ts';
import { FolderLock } from '../run/records/lock.ts';
import { isCommit } from './model-id.ts';
import type { RepositoryId, RepositoryKind } from './repository.ts';

/** Between two looks at another process's lock. */
const LOOK_MS = 200;

export class RepositoryCache {
  readonly folder: string;
  readonly #locks: string;

  constructor(cache: string, { kind, repository }: Pick<RepositoryId, 'kind' | 'repository'>) {
    const name = `${prefixOf(kind)}${repository.replaceAll('/', '--')}`;
    this.folder = join(cache, name);
    this.#locks = join(cache, '.locks', name);
  }

  blob(etag: string): string {
    return join(this.folder, 'blobs', etag);
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  /** The commit that the revision is, or was last seen at; null: it is not known here. */
  async commitOf(revision: string): Promise<string | null> {
    if (isCommit(revision)) return revision;
    const text = await readFile(this.ref(revision), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : null;
  }

  /** Notes where a branch or tag was seen; a commit is where it is. */
  async remember(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    const path = this.ref(revision);
    await io(path, () => mkdir(dirname(path), { recursive: true }));
    await replaceFile(path, commit);
  }

  /** Paths of the snapshot's files whose bytes are here. */
  async present(commit: string): Promise<string[]> {
    const folder = this.snapshot(commit);
    const names = await readdir(folder, { recursive: true }).catch(() => []);
    const sizes = await Promise.all(
      names.map((name) => stat(join(folder, name)).catch(() => null)),
    );
    return names.filter((_, at) => sizes[at]?.isFile() === true);
  }

  /** Shows a blob under its name in the snapshot. */
  async link(commit: string, path: string, etag: string): Promise<void> {
    const target = join(this.snapshot(commit), path);
    const temporary = `${target}.${process.pid}.tmp`;
    await io(target, async () => {
      await mkdir(dirname(target), { recursive: true });
      await rm(temporary, { force: true });
      await symlink(relative(dirname(target), this.blob(etag)), temporary);
      await rename(temporary, target);
    });
  }

  /** Keeps other processes of ours out while `work` runs; those wait. */
  async alone<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const lock = await this.#lock(signal);
    try {
      return await work();
    } finally {
      await lock.release();
    }
  }

  async #lock(signal: AbortSignal | undefined): Promise<FolderLock> {
    for (;;) {
      throwIfAborted(signal);
      try {
        return await FolderLock.take(this.#locks, { signal });
      } catch (error) {
        const isHeld = error instanceof BpeftError && error.code === 'BPEFT_RUN_EXISTS';
        if (!isHeld) throw error;
        await pause(LOOK_MS);
      }
    }
  }

  /** Where it is written which commit a branch or tag was last seen at. */
  ref(revision: string): string {
    return join(this.folder, 'refs', revision);
  }
}

/** Repositories that have a folder in the cache, by their names. */
export async function cachedRepositories(cache: string, kind: RepositoryKind): Promise<string[]> {
  const names = await readdir(cache).catch(() => []);
  const prefix = prefixOf(kind);
  return names
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length).replace('--', '/'))
    .sort();
}

function prefixOf(kind: RepositoryKind): string {
  return `${kind}s--`;
}
