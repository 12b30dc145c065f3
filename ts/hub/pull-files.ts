/** Files of a repository in the cache: those that are there, or those that the Hub gives. */

import type { CallOptions } from '../engine/call.ts';
import { BpeftError } from '../errors.ts';
import { nearestName } from '../nearest.ts';
import { cachedRepositories, RepositoryCache } from './cache.ts';
import { type Hub, hubFrom } from './environment.ts';
import { type Listing, listRepository } from './listing.ts';
import { isCommit } from './model-id.ts';
import { codeOf, type RepositoryId } from './repository.ts';
import { HubUnreachable } from './request.ts';
import { Snapshot } from './snapshot.ts';

/** What is needed of a repository. */
export interface Needs {
  /**
   * The needed ones of `paths`, in rounds: what a round names is in the folder `snapshot` before
   * the next is asked.
   * @throws {BpeftError} they do not hold what is needed
   */
  rounds(paths: readonly string[], snapshot: string): AsyncIterable<readonly string[]>;
  /** Whether files of a cache, which may hold a part of the repository, cannot be too few. */
  isCertain(chosen: readonly string[]): boolean;
  /** False: more will be asked for, and only then the branch counts as being here. */
  readonly isAll?: boolean;
}

export interface PulledFiles {
  readonly commit: string;
  readonly snapshot: string;
  /** In the snapshot: what is needed. */
  readonly paths: readonly string[];
  /** All of the repository, or of its part that the cache holds. */
  readonly known: readonly string[];
}

/**
 * Each file as the Hub lists it. A commit whose files are here is not asked for again; a branch is,
 * and the cache serves where the Hub cannot be reached.
 * @throws {BpeftError} `BPEFT_MODEL_NOT_FOUND`, `BPEFT_DATASET`, `BPEFT_IO`, `BPEFT_ABORTED`, and
 * what `needs` throws
 */
export async function pullFiles(
  id: RepositoryId,
  needs: Needs,
  call: CallOptions = {},
  hub: Hub = hubFrom(process.env),
): Promise<PulledFiles> {
  const cache = new RepositoryCache(hub.cache, id);
  const { found, lack } = await findCached(cache, id, needs);
  const isCertain = isCommit(id.revision) && found !== null && needs.isCertain(found.paths);
  if (found !== null && (isCertain || hub.isOffline)) return found;
  if (hub.isOffline) throw await notCached(hub, id, lack);
  let listing: Listing;
  try {
    listing = await listRepository(hub, id, call.signal);
  } catch (error) {
    if (!(error instanceof HubUnreachable) || found === null)
      throw await withNearest(hub, id, error);
    const message = `${error.message}; ${id.repository} is used as the cache has it, at ${found.commit}`;
    process.emitWarning(message, { code: 'BPEFT_NOTICE' });
    return found;
  }
  const { commit } = listing;
  if (found !== null && found.commit !== commit) {
    const message = `${id.repository}@${id.revision} has moved from ${found.commit} to ${commit}`;
    process.emitWarning(message, { code: 'BPEFT_NOTICE' });
  }
  const snapshot = new Snapshot(hub, id, cache, listing, call);
  const folder = cache.snapshot(commit);
  const all = listing.files.map(({ path }) => path);
  const paths: string[] = [];
  for await (const round of needs.rounds(all, folder)) {
    await snapshot.bring(round);
    paths.push(...round);
  }
  if (needs.isAll !== false) {
    snapshot.finish();
    await cache.remember(id.revision, commit);
  }
  return { commit, snapshot: folder, paths, known: all };
}

/** What of the needed files is here, or what is not. */
async function findCached(
  cache: RepositoryCache,
  id: RepositoryId,
  needs: Needs,
): Promise<{ found: PulledFiles | null; lack: string | null }> {
  const commit = await cache.commitOf(id.revision);
  if (commit === null) return { found: null, lack: null };
  const present = await cache.present(commit);
  if (present.length === 0) return { found: null, lack: null };
  const snapshot = cache.snapshot(commit);
  const paths: string[] = [];
  try {
    for await (const round of needs.rounds(present, snapshot)) {
      const missing = round.filter((path) => !present.includes(path));
      if (missing.length > 0) return { found: null, lack: `it lacks ${missing.join(', ')}` };
      paths.push(...round);
    }
    return { found: { commit, snapshot, paths, known: present }, lack: null };
  } catch (error) {
    if (error instanceof BpeftError) return { found: null, lack: error.message };
    throw error;
  }
}

async function notCached(hub: Hub, id: RepositoryId, lack: string | null): Promise<BpeftError> {
  const { kind, repository, revision } = id;
  const name = `${kind} ${repository}@${revision}`;
  const message = `${name} is not whole in ${hub.cache}, and HF_HUB_OFFLINE is set`;
  if (lack !== null) {
    return new BpeftError(codeOf(id), `${message}: ${lack}`, {
      hint: 'unset HF_HUB_OFFLINE: what is missing is downloaded, and nothing twice',
    });
  }
  const known = await cachedRepositories(hub.cache, kind);
  const nearest = nearestName(repository, known);
  const list = `${kind}s there: ${known.join(', ') || 'none'}`;
  return new BpeftError(codeOf(id), message, {
    hint: nearest === null || nearest === repository ? list : `did you mean ${nearest}? ${list}`,
  });
}

/** A name that the Hub does not know may be a misspelt one of the cache. */
async function withNearest(hub: Hub, id: RepositoryId, error: unknown): Promise<unknown> {
  if (!(error instanceof BpeftError) || error.code !== codeOf(id)) return error;
  const nearest = nearestName(id.repository, await cachedRepositories(hub.cache, id.kind));
  if (nearest === null || nearest === id.repository) return error;
  const hint = `did you mean ${nearest}, which the cache holds? ${error.hint ?? ''}`;
  return new BpeftError(error.code, error.message, { hint, cause: error });
}
