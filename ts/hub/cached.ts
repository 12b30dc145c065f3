/** What the cache holds, how much of it revisions share, and the removal of it. */

import { readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { BpeftError } from '../errors.ts';
import { unknownName } from '../nearest.ts';
import { io } from '../run/records/atomic.ts';
import { cachedRepositories, RepositoryCache } from './cache.ts';
import { codeOf, type RepositoryId, type RepositoryKind } from './repository.ts';

export interface CachedFile {
  readonly path: string;
  readonly bytes: number;
  /** The name of the bytes; files that have it in common lie on the disk once. */
  readonly blob: string;
}

export interface CachedRevision {
  readonly commit: string;
  /** Branches and tags that were last seen at this commit. */
  readonly refs: readonly string[];
  readonly files: readonly CachedFile[];
  readonly bytes: number;
  /** Of these, what other revisions use too: removing this one does not free it. */
  readonly sharedBytes: number;
}

export interface CachedRepository {
  readonly repository: string;
  /** On the disk, each file once, unfinished downloads included. */
  readonly bytes: number;
  readonly unfinishedBytes: number;
  readonly revisions: readonly CachedRevision[];
}

export async function cachedContents(
  cache: string,
  kind: RepositoryKind,
): Promise<readonly CachedRepository[]> {
  const names = await cachedRepositories(cache, kind);
  return Promise.all(
    names.map((repository) =>
      contents(new RepositoryCache(cache, { kind, repository }), repository),
    ),
  );
}

/** @throws {BpeftError} the cache holds no such repository; its hint has the nearest name. */
export async function cachedRepository(
  cache: string,
  { kind, repository }: Pick<RepositoryId, 'kind' | 'repository'>,
): Promise<CachedRepository> {
  const known = await cachedRepositories(cache, kind);
  if (known.includes(repository))
    return contents(new RepositoryCache(cache, { kind, repository }), repository);
  const { message, hint } = unknownName(kind, repository, known);
  throw new BpeftError(codeOf({ kind }), `${cache}: ${message}`, {
    hint: hint.replace('known:', 'held:'),
  });
}

/**
 * Removes a repository, or one revision and what no other uses.
 * @returns the bytes that this frees
 * @throws {BpeftError} the cache does not hold it; `BPEFT_IO`, `BPEFT_ABORTED`
 */
export async function removeCached(
  cache: string,
  id: Omit<RepositoryId, 'revision'> & { readonly revision: string | null },
  { isDryRun = false, signal }: { isDryRun?: boolean; signal?: AbortSignal | undefined } = {},
): Promise<number> {
  const place = new RepositoryCache(cache, id);
  await cachedRepository(cache, id);
  return place.alone(signal, async () => {
    const held = await cachedRepository(cache, id);
    const revision = id.revision === null ? null : revisionOf(held, id.revision, id.kind);
    const isAll = revision === null || held.revisions.length === 1;
    if (isAll) {
      if (!isDryRun) await io(place.folder, () => rm(place.folder, { recursive: true }));
      return held.bytes;
    }
    if (!isDryRun) await removeRevision(place, held, revision);
    return revision.bytes - revision.sharedBytes;
  });
}

/**
 * Names first: a removal that is cut off leaves bytes without a name, and no name without its
 * bytes.
 */
async function removeRevision(
  place: RepositoryCache,
  held: CachedRepository,
  revision: CachedRevision,
) {
  const others = held.revisions.filter((one) => one !== revision);
  const used = new Set(others.flatMap(({ files }) => files.map(({ blob }) => blob)));
  await io(place.folder, async () => {
    for (const ref of revision.refs) await rm(place.ref(ref), { force: true });
    await rm(place.snapshot(revision.commit), { recursive: true, force: true });
    for (const { blob } of revision.files) {
      if (!used.has(blob)) await rm(place.blob(blob), { force: true });
    }
  });
}

function revisionOf(
  held: CachedRepository,
  revision: string,
  kind: RepositoryKind,
): CachedRevision {
  const found = held.revisions.find(
    ({ commit, refs }) => commit === revision || refs.includes(revision),
  );
  if (found !== undefined) return found;
  const list = held.revisions.map(({ commit, refs }) => [commit, ...refs].join(' = '));
  throw new BpeftError(
    codeOf({ kind }),
    `the cache holds ${held.repository}, but not at ${revision}`,
    {
      hint: `held: ${list.join('; ') || 'no revision'}`,
    },
  );
}

async function contents(place: RepositoryCache, repository: string): Promise<CachedRepository> {
  const refs = await refsOf(place);
  const commits = (await readdir(join(place.folder, 'snapshots')).catch(() => [])).sort();
  const bare = await Promise.all(
    commits.map(async (commit) => ({
      commit,
      refs: refs.filter(([, at]) => at === commit).map(([name]) => name),
      files: await filesOf(place, commit),
    })),
  );
  const blobs = await sizesIn(join(place.folder, 'blobs'));
  const sum = (sizes: readonly number[]) => sizes.reduce((all, one) => all + one, 0);
  return {
    repository,
    bytes: sum([...blobs.values()]),
    unfinishedBytes: sum(
      [...blobs].flatMap(([name, bytes]) => (name.endsWith('.incomplete') ? [bytes] : [])),
    ),
    revisions: bare.map((revision) => {
      const others = bare.filter((one) => one !== revision);
      const elsewhere = new Set(others.flatMap(({ files }) => files.map(({ blob }) => blob)));
      const own = new Map(revision.files.map(({ blob, bytes }) => [blob, bytes]));
      return {
        ...revision,
        bytes: sum([...own.values()]),
        sharedBytes: sum([...own].flatMap(([blob, bytes]) => (elsewhere.has(blob) ? [bytes] : []))),
      };
    }),
  };
}

async function refsOf(
  place: RepositoryCache,
): Promise<(readonly [name: string, commit: string])[]> {
  const folder = place.ref('');
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const read = names.sort().map(async (name) => {
    const commit = await readFile(join(folder, name), 'utf8').catch(() => null);
    return commit === null ? [] : [[name, commit.trim()] as const];
  });
  return (await Promise.all(read)).flat();
}

async function filesOf(place: RepositoryCache, commit: string): Promise<CachedFile[]> {
  const paths = (await place.present(commit)).sort();
  return Promise.all(
    paths.map(async (path) => {
      const file = join(place.snapshot(commit), path);
      const { size } = await io(file, () => stat(file));
      // Where links cannot be made, Python writes files.
      const blob = basename(await readlink(file).catch(() => file));
      return { path, bytes: size, blob };
    }),
  );
}

async function sizesIn(folder: string): Promise<Map<string, number>> {
  const names = await readdir(folder).catch(() => []);
  const sizes = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => null)));
  return new Map(names.map((name, at) => [name, sizes[at]?.size ?? 0]));
}
