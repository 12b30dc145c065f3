/** Brings a model of the Hub into the cache, if it is not there. */

import { mkdir, readFile, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { type CallOptions, teller } from '../engine/call.ts';
import { BpeftError } from '../errors.ts';
import { nearestName } from '../nearest.ts';
import { io } from '../run/records/atomic.ts';
import { downloadBlob } from './blob.ts';
import { cachedRepositories, RepositoryCache } from './cache.ts';
import { type Hub, hubFrom } from './environment.ts';
import { type HubFile, type Listing, listRepository } from './listing.ts';
import { isCommit, type ModelId } from './model-id.ts';
import { INDEX, type NeededFiles, neededFiles, shardsOf } from './needed-files.ts';
import { HubUnreachable } from './request.ts';

export interface PulledModel {
  readonly repository: string;
  readonly commit: string;
  /** The .gguf file's path in the repository; null: a folder in safetensors. */
  readonly file: string | null;
  /** The snapshot's folder, or the file in it. */
  readonly path: string;
}

/** Files under way at once. */
const PARALLEL = 4;

/**
 * The model's files in the cache, each as the Hub lists it. A commit whose files are here is not asked for again;
 * a branch is, and the cache serves where the Hub cannot be reached.
 * @throws {BpeftError} `BPEFT_MODEL_NOT_FOUND`, `BPEFT_UNSUPPORTED`, `BPEFT_USAGE`, `BPEFT_IO`, `BPEFT_ABORTED`
 */
export async function pullModel(
  id: ModelId,
  call: CallOptions = {},
  hub: Hub = hubFrom(process.env),
): Promise<PulledModel> {
  const cache = new RepositoryCache(hub.cache, id.repository);
  const cached = await findCached(cache, id);
  const isCertain = isCommit(id.revision) && (id.file !== null || cached?.file === null);
  if (cached !== null && (isCertain || hub.isOffline)) return cached;
  if (hub.isOffline) throw await notCached(hub, id);
  let listing: Listing;
  try {
    listing = await listRepository(hub, id, call.signal);
  } catch (error) {
    if (!(error instanceof HubUnreachable) || cached === null) throw await withNearest(hub, id, error);
    const message = `${error.message}; ${id.repository} is used as the cache has it, at ${cached.commit}`;
    process.emitWarning(message, { code: 'BPEFT_NOTICE' });
    return cached;
  }
  const { commit } = listing;
  const needed = neededFiles(
    id,
    listing.files.map(({ path }) => path),
  );
  const fetch = new Fetching(hub, id, cache, listing, call);
  if (needed.kind === 'file') await fetch.bring([needed.path]);
  else {
    await fetch.bring(needed.settings);
    await fetch.bring(needed.weights ?? (await shardsIn(cache.snapshot(commit), id)));
  }
  if (!isCommit(id.revision)) await cache.remember(id.revision, commit);
  return pulled(cache, id, commit, needed);
}

/** Downloads some of a listing's files. */
class Fetching {
  readonly #hub: Hub;
  readonly #id: ModelId;
  readonly #cache: RepositoryCache;
  readonly #listing: Listing;
  readonly #call: CallOptions;

  constructor(hub: Hub, id: ModelId, cache: RepositoryCache, listing: Listing, call: CallOptions) {
    this.#hub = hub;
    this.#id = id;
    this.#cache = cache;
    this.#listing = listing;
    this.#call = call;
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
      for (const { path, etag } of missing) await this.#cache.link(this.#listing.commit, path, etag);
    });
  }

  async #missing(paths: readonly string[]): Promise<HubFile[]> {
    const present = new Set(await this.#cache.present(this.#listing.commit));
    return paths.filter((path) => !present.has(path)).map((path) => this.#file(path));
  }

  #file(path: string): HubFile {
    const file = this.#listing.files.find((one) => one.path === path);
    if (file !== undefined) return file;
    const message = `${this.#id.repository}: ${INDEX} names ${path}, which is not in the repository`;
    throw new BpeftError('BPEFT_MODEL_CORRUPT', message);
  }

  async #download(files: readonly HubFile[]): Promise<void> {
    const sizes = await Promise.all(files.map(({ etag }) => stat(this.#cache.blob(etag)).catch(() => null)));
    const waiting = files.filter((_, at) => sizes[at] === null);
    const total = waiting.reduce((sum, { bytes }) => sum + bytes, 0);
    await this.#requireRoom(total);
    const done = new Map<string, number>();
    const tell = teller(this.#call.onProgress);
    const failure = new AbortController();
    const signals = [failure.signal, ...(this.#call.signal === undefined ? [] : [this.#call.signal])];
    const { endpoint } = this.#hub;
    const repository = `${endpoint}/${this.#id.repository}/resolve/${this.#listing.commit}`;
    const next = async (): Promise<void> => {
      for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
        const { etag, path } = file;
        await downloadBlob(this.#cache.blob(etag), {
          hub: this.#hub,
          id: this.#id,
          url: `${repository}/${path.split('/').map(encodeURIComponent).join('/')}`,
          file,
          signal: AbortSignal.any(signals),
          tell: (bytes) => {
            done.set(etag, bytes);
            const sum = [...done.values()].reduce((a, b) => a + b, 0);
            tell({ activity: 'downloading', unit: 'bytes', done: sum, total });
          },
        });
      }
    };
    let first: unknown;
    const stop = (error: unknown) => {
      first ??= error;
      failure.abort(error);
    };
    // All have come to rest before the lock is given back.
    await Promise.all(Array.from({ length: PARALLEL }, () => next().catch(stop)));
    if (first !== undefined) throw first;
  }

  /** Counts what earlier attempts left as if it were still to come. */
  async #requireRoom(bytes: number): Promise<void> {
    const { folder } = this.#cache;
    const { bavail, bsize } = await io(folder, async () => {
      await mkdir(folder, { recursive: true });
      return statfs(folder);
    });
    if (bytes <= bavail * bsize) return;
    const megabytes = (count: number) => `${Math.ceil(count / 1e6)} MB`;
    throw new BpeftError(
      'BPEFT_IO',
      `${this.#id.repository} needs ${megabytes(bytes)}, but ${folder} has room for ${megabytes(bavail * bsize)}`,
      { hint: 'free some space, or set HF_HOME to a larger disk' },
    );
  }
}

/** Null: not all that the model needs is here. */
async function findCached(cache: RepositoryCache, id: ModelId): Promise<PulledModel | null> {
  const commit = await cache.commitOf(id.revision);
  if (commit === null) return null;
  const present = await cache.present(commit);
  try {
    const needed = neededFiles(id, present);
    const isWhole =
      needed.kind === 'file' ||
      needed.weights !== null ||
      (await shardsIn(cache.snapshot(commit), id)).every((path) => present.includes(path));
    return isWhole ? pulled(cache, id, commit, needed) : null;
  } catch (error) {
    if (error instanceof BpeftError) return null;
    throw error;
  }
}

async function shardsIn(snapshot: string, { repository }: ModelId): Promise<string[]> {
  const path = join(snapshot, INDEX);
  return shardsOf(repository, await io(path, () => readFile(path, 'utf8')));
}

function pulled(cache: RepositoryCache, id: ModelId, commit: string, needed: NeededFiles): PulledModel {
  const snapshot = cache.snapshot(commit);
  const file = needed.kind === 'file' ? needed.path : null;
  const path = file === null ? snapshot : join(snapshot, file);
  return { repository: id.repository, commit, file, path };
}

async function notCached(hub: Hub, { repository, revision }: ModelId): Promise<BpeftError> {
  const message = `model ${repository}@${revision} is not whole in ${hub.cache}, and HF_HUB_OFFLINE is set`;
  const known = await cachedRepositories(hub.cache);
  const nearest = nearestName(repository, known);
  const list = `models there: ${known.join(', ') || 'none'}`;
  return new BpeftError('BPEFT_MODEL_NOT_FOUND', message, {
    hint: nearest === null || nearest === repository ? list : `did you mean ${nearest}? ${list}`,
  });
}

/** A name that the Hub does not know may be a misspelt one of the cache. */
async function withNearest(hub: Hub, { repository }: ModelId, error: unknown): Promise<unknown> {
  if (!(error instanceof BpeftError) || error.code !== 'BPEFT_MODEL_NOT_FOUND') return error;
  const nearest = nearestName(repository, await cachedRepositories(hub.cache));
  if (nearest === null || nearest === repository) return error;
  const hint = `did you mean ${nearest}, which the cache holds? ${error.hint ?? ''}`;
  return new BpeftError(error.code, error.message, { hint, cause: error });
}
