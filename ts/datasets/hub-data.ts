/**
 * Datasets of the Hub as sources of rows: which configuration, which task, and files that come when
 * they are read.
 */

import { join } from 'node:path';
import type { CallOptions } from '../engine/call.ts';
import { BpeftError } from '../errors.ts';
import { type DatasetId, datasetIdText } from '../hub/dataset-id.ts';
import { type HubDataset, openHubDataset } from '../hub/pull-dataset.ts';
import { areCounted } from '../hub/shards.ts';
import { unknownName } from '../nearest.ts';
import { formatOf } from './files/file-formats.ts';
import { taskByFields } from './files/own-data.ts';
import type { SplitFile } from './files/read-split.ts';
import { type Columns, columnsFrom } from './rows/columns.ts';
import { datasetError } from './rows/dataset-error.ts';
import type { TaskFamily } from './rows/item.ts';
import type { DatasetEntry, SourceFiles } from './tasks/entry.ts';
import { familyAt, type HubPlace } from './tasks/hub-places.ts';

/** A named dataset. @param revision null: `main`, or what the Hub has made of it */
export async function namedHubData(
  entry: DatasetEntry,
  place: HubPlace,
  revision: string | null,
  call: CallOptions,
): Promise<SourceFiles> {
  const { repository, configurations } = place;
  const data = await opened({ repository, revision, configuration: null }, call);
  const splits = new Map<string, SplitFile[]>();
  for (const name of configurations) {
    const { splits: own } = configurationOf(data, name);
    for (const [split, paths] of own) {
      splits.set(split, [...(splits.get(split) ?? []), ...filesOf(data, paths)]);
    }
  }
  const { name, family, licence, trainSplit, defaultSplit } = entry;
  return {
    ...{ name, family, entry, splits, trainSplit, defaultSplit, licence },
    ...origin(data, configurations.join('+')),
    columns: place.columns === undefined ? null : columnsFrom(place.columns),
  };
}

/** Any other one; its rows tell the task unless it is known or asked for. */
export async function otherHubData(
  id: DatasetId,
  { task, columns, ...call }: { task: TaskFamily | null; columns: Columns | null } & CallOptions,
): Promise<SourceFiles> {
  const data = await opened(id, call);
  const name = id.configuration ?? soleConfiguration(data);
  const { splits: paths } = configurationOf(data, name);
  const splits = new Map([...paths].map(([split, own]) => [split, filesOf(data, own)]));
  const [first = ''] = splits.keys();
  const sample = splits.get('train') ?? splits.get(first) ?? [];
  const found = origin(data, name);
  const known = task ?? familyAt(id);
  // The first file tells the task. Alone it is brought only where its name says that there are
  // more.
  const names = sample.map((file) => file.name);
  if (known === null) await data.peek(areCounted(names) ? names.slice(0, 1) : names, call);
  const family = known ?? (await taskByFields(sample, columns));
  return {
    name: datasetIdText({
      ...id,
      revision: null,
      configuration: data.layout.size === 1 ? null : name,
    }),
    ...{ family, entry: null, splits, licence: data.licence },
    trainSplit: splits.size === 1 ? first : 'train',
    defaultSplit: splits.size === 1 ? first : 'validation',
    ...found,
    columns: familyAt(id) === null ? columns : null,
  };
}

async function opened(id: DatasetId, call: CallOptions): Promise<HubDataset> {
  const data = await openHubDataset(id, call);
  if (data.layout.size > 0) return data;
  throw datasetError(
    id.repository,
    `holds no files of rows, of these kinds: Parquet, JSON, CSV (at ${data.commit})`,
    {
      hint: 'write its rows as Parquet or JSON Lines, and give --dataset the folder',
    },
  );
}

function soleConfiguration({ repository, layout }: HubDataset): string {
  const names = [...layout.keys()];
  const [first = ''] = names;
  const main = [...layout].find(([, { isDefault }]) => isDefault)?.[0];
  if (names.length === 1 || main !== undefined) return main ?? first;
  throw datasetError(repository, `has ${names.length} configurations: which one?`, {
    hint: `write ${repository}:${first}; its configurations: ${names.join(', ')}`,
  });
}

function configurationOf({ repository, layout }: HubDataset, name: string) {
  const found = layout.get(name);
  if (found !== undefined) return found;
  const { message, hint } = unknownName('configuration', name, layout.keys());
  throw datasetError(repository, message, { hint: hint.replace('known:', 'its configurations:') });
}

function filesOf({ snapshot }: HubDataset, paths: readonly string[]): SplitFile[] {
  return paths.map((name) => {
    const format = formatOf(name);
    if (format === null) throw new BpeftError('BPEFT_DATASET', `${name} is no file of rows`);
    return { path: join(snapshot, name), name, format };
  });
}

function origin({ repository, commit, bring }: HubDataset, configuration: string) {
  return {
    hub: { repository, revision: commit, configuration },
    bring: (files: readonly SplitFile[], call: CallOptions) =>
      bring(
        files.map(({ name }) => name),
        call,
      ),
  };
}
