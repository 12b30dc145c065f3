/** Brings files of a repository, at one commit, into the cache. */

import { mkdir, stat, statfs } from 'node:fs/promises';
import pLimit from 'p-limit';
import { type CallOptions, type Progress, teller } from '../engine/call.ts';
import { BpeftError, throwIfAborted } from '../errors.ts';
import { io } from '../run/records/atomic.ts';
import { downloadBlob, partOf } from './blob.ts';
import type { RepositoryCache } from './cache.ts';
import type { Hub } from './environment.ts';
import type { HubFile, Listing } from './listing.ts';
import { codeOf, fileAddress, type RepositoryId } from './repository.ts';
import { bytesText } from './sizes.ts';

/** Files under way at once. */
const PARALLEL = 4;

/** Downloads some of a listing's files. */
export class Snapshot {
  readonly #hub: Hub;
  readonly #id: RepositoryId;
  readonly #cache: RepositoryCache;
  readonly #listing: Listing;
  readonly #call: CallOptions;
  readonly #tell: (progress: Progress) => void;
  /** Etag → bytes that are here, of all that was missing. */
  readonly #done = new Map<string, number>();
  #total = 0;

  constructor(
    hub: Hub,
    id: RepositoryId,
    cache: RepositoryCache,
    listing: Listing,
    call: CallOptions,
  ) {
    this.#hub = hub;
    this.#id = id;
    this.#cache = cache;
    this.#listing = listing;
    this.#call = call;
    this.#tell = teller(call.onProgress);
  }

  /** Leaves all of `paths` in the snapshot. */
  async bring(paths: readonly string[]): Promise<void> {
    const { signal } = this.#call;
    if ((await this.#missing(paths)).length === 0) return;
    await this.#cache.alone(signal, async () => {
      // Once more: another process may just have brought them.
      const missing = await this.#missing(paths);
      const blobs = new Map(missing.map((file) => [file.etag, file]));
      await this.#download([...blobs.values()]);
      for (const { path, etag } of missing)
        await this.#cache.link(this.#listing.commit, path, etag);
    });
  }

  /** Says that nothing more will be brought. */
  finish(): void {
    if (this.#total > 0) this.#tell(this.#progress());
  }

  #progress(): Progress {
    const done = [...this.#done.values()].reduce((a, b) => a + b, 0);
    return {
      activity: 'downloading',
      subject: this.#id.repository,
      unit: 'bytes',
      done,
      total: this.#total,
    };
  }

  async #missing(paths: readonly string[]): Promise<HubFile[]> {
    const present = new Set(await this.#cache.present(this.#listing.commit));
    return paths.filter((path) => !present.has(path)).map((path) => this.#file(path));
  }

  #file(path: string): HubFile {
    const file = this.#listing.files.find((one) => one.path === path);
    if (file !== undefined) return file;
    const message = `${this.#id.repository} names ${path}, which is not in the repository`;
    throw new BpeftError(
      this.#id.kind === 'model' ? 'BPEFT_MODEL_CORRUPT' : codeOf(this.#id),
      message,
    );
  }

  async #download(files: readonly HubFile[]): Promise<void> {
    const sizes = await Promise.all(files.map(({ etag }) => bytesAt(this.#cache.blob(etag))));
    const waiting = files.filter((_, at) => sizes[at] === null);
    const total = waiting.reduce((sum, { bytes }) => sum + bytes, 0);
    const parts = await Promise.all(
      waiting.map(({ etag }) => bytesAt(partOf(this.#cache.blob(etag)))),
    );
    await this.#requireRoom(total - parts.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0));
    this.#total += total;
    const failure = new AbortController();
    const { signal } = this.#call;
    const either =
      signal === undefined ? failure.signal : AbortSignal.any([failure.signal, signal]);
    let first: unknown;
    const stop = (error: unknown) => {
      first ??= error;
      failure.abort(error);
    };
    const limit = pLimit(PARALLEL);
    // All have come to rest before the lock is given back.
    await Promise.all(
      waiting.map((file) => limit(() => this.#downloadFile(file, either)).catch(stop)),
    );
    if (first !== undefined) throw first;
  }

  async #downloadFile(file: HubFile, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const { etag, path } = file;
    await downloadBlob(this.#cache.blob(etag), {
      hub: this.#hub,
      id: this.#id,
      url: fileAddress(this.#hub, this.#id, this.#listing.commit, path),
      file,
      signal,
      tell: (bytes) => {
        this.#done.set(etag, bytes);
        const progress = this.#progress();
        if (progress.done < this.#total) this.#tell(progress); // the end is told once, by `finish`
      },
    });
  }

  async #requireRoom(bytes: number): Promise<void> {
    const { folder } = this.#cache;
    const { bavail, bsize } = await io(folder, async () => {
      await mkdir(folder, { recursive: true });
      return statfs(folder);
    });
    const room = bavail * bsize;
    if (bytes <= room) return;
    const needs = `${this.#id.repository} needs ${bytesText(bytes)} more`;
    throw new BpeftError('BPEFT_IO', `${needs}, but ${folder} has room for ${bytesText(room)}`, {
      hint: 'free some space (bpeft models list shows what the cache holds), or set HF_HOME to a larger disk',
    });
  }
}

/** Null: nothing is there. */
async function bytesAt(path: string): Promise<number | null> {
  return (await stat(path).catch(() => null))?.size ?? null;
}
