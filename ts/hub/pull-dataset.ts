/** A dataset of the Hub: what it holds, and its files in the cache, each when its split is read. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CallOptions } from '../engine/call.ts';
import { BpeftError } from '../errors.ts';
import { io } from '../run/records/atomic.ts';
import { RepositoryCache } from './cache.ts';
import { datasetCard } from './dataset-card.ts';
import type { DatasetId } from './dataset-id.ts';
import { datasetLayout, type Layout } from './dataset-layout.ts';
import { type Hub, hubFrom } from './environment.ts';
import { pullFiles } from './pull-files.ts';
import type { RepositoryId } from './repository.ts';
import { missingShards } from './shards.ts';

export interface HubDataset {
  readonly repository: string;
  readonly commit: string;
  /** As its card says; null: it says nothing. */
  readonly licence: string | null;
  /** Empty: it holds no files of rows. */
  readonly layout: Layout;
  /** Where the files lie once they are brought. */
  readonly snapshot: string;
  /**
   * Leaves files of the layout in the snapshot.
   * @throws {BpeftError} `BPEFT_DATASET`: by their names there are more of them
   */
  bring(paths: readonly string[], call: CallOptions): Promise<void>;
  /** The same for some that are looked into only: the branch does not yet count as being here. */
  peek(paths: readonly string[], call: CallOptions): Promise<void>;
}

const CARD = 'README.md';
const MAIN = 'main';
/** The Hub turns datasets of any form into Parquet, on this branch. */
const CONVERTED = 'refs/convert/parquet';

/**
 * The files of the repository itself, as Python's `datasets` reads them; where it has none that
 * hold rows (but a program, archives, …), those that the Hub has made.
 * @throws {BpeftError} `BPEFT_DATASET`, `BPEFT_IO`, `BPEFT_ABORTED`
 */
export async function openHubDataset(
  { repository, revision }: Pick<DatasetId, 'repository' | 'revision'>,
  call: CallOptions = {},
  hub: Hub = hubFrom(process.env),
): Promise<HubDataset> {
  const id = { kind: 'dataset', repository, revision: revision ?? MAIN } as const;
  const own = await openRevision(id, call, hub);
  if (own.layout.size > 0 || revision !== null) return own;
  try {
    const converted = await openRevision({ ...id, revision: CONVERTED }, call, hub);
    return { ...converted, licence: own.licence };
  } catch (error) {
    // there is no such branch
    if ((error as { code?: string }).code === 'BPEFT_DATASET') return own;
    throw error;
  }
}

async function openRevision(id: RepositoryId, call: CallOptions, hub: Hub): Promise<HubDataset> {
  const cardOnly = {
    async *rounds(paths: readonly string[]) {
      yield paths.filter((path) => path === CARD);
    },
    isCertain: () => false,
    isAll: false,
  };
  const { commit, snapshot, paths, known } = await pullFiles(
    id,
    cardOnly,
    { signal: call.signal },
    hub,
  );
  const path = join(snapshot, CARD);
  const readme = paths.length === 0 ? '' : await io(path, () => readFile(path, 'utf8'));
  const card = datasetCard(readme);
  return {
    repository: id.repository,
    commit,
    licence: card.licence,
    layout: datasetLayout(known, card),
    snapshot,
    bring: async (wanted, call) => {
      requireWhole(id, commit, wanted, hub);
      await bringFiles({ ...id, revision: commit }, wanted, call, hub);
      await new RepositoryCache(hub.cache, id).remember(id.revision, commit);
    },
    peek: (wanted, call) => bringFiles({ ...id, revision: commit }, wanted, call, hub),
  };
}

async function bringFiles(
  id: RepositoryId,
  wanted: readonly string[],
  call: CallOptions,
  hub: Hub,
): Promise<void> {
  const needs = {
    async *rounds() {
      yield wanted;
    },
    isCertain: () => true,
  };
  await pullFiles(id, needs, call, hub);
}

/** A cache may hold a part of the files alone, and without a network that is all that is known. */
function requireWhole(
  { repository }: RepositoryId,
  commit: string,
  paths: readonly string[],
  { isOffline, cache }: Hub,
): void {
  const missing = missingShards(paths);
  if (missing === null) return;
  const where = isOffline ? ` in ${cache}, and HF_HUB_OFFLINE is set` : '';
  throw new BpeftError(
    'BPEFT_DATASET',
    `dataset ${repository}@${commit} is not whole${where}: of ${missing}`,
    {
      hint: isOffline
        ? 'unset HF_HUB_OFFLINE: what is missing is downloaded, and nothing twice'
        : 'it may be half uploaded: give another @revision',
    },
  );
}
