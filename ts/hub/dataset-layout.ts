/**
 * Which files of a repository are which split of which configuration: as its card says, else by
 * their names.
 *
 * ```text
 * <configuration>/<split>-00000-of-00002.parquet    what Python's `datasets` pushes
 * <configuration>/<split>/0000.parquet              what the Hub makes of every dataset (refs/convert/parquet)
 * data/<split>….parquet, <split>.jsonl              the one configuration `default`
 * ```
 */

import { basename, dirname } from 'node:path';
import { formatOf, hasSplitName, splitName } from '../datasets/files/file-formats.ts';
import type { CardConfiguration, DatasetCard } from './dataset-card.ts';
import { matcher } from './glob.ts';

export interface HubConfiguration {
  readonly isDefault: boolean;
  /** Split → paths in the repository, in the order of the rows. */
  readonly splits: ReadonlyMap<string, readonly string[]>;
}

/** By name; empty: it holds no files of rows. */
export type Layout = ReadonlyMap<string, HubConfiguration>;

const DEFAULT = 'default';

export function datasetLayout(paths: readonly string[], { configurations }: DatasetCard): Layout {
  const rows = dataFiles(paths);
  if (configurations === null) return layoutByNames(rows);
  return new Map(
    configurations.flatMap((one) => {
      const splits = splitsOf(one, rows);
      return splits.size === 0 ? [] : [[one.name, { isDefault: isDefault(one), splits }] as const];
    }),
  );
}

function isDefault({ isDefault, name }: CardConfiguration): boolean {
  return isDefault || name === DEFAULT;
}

/** Files of rows; beside Parquet, others hold something else. */
function dataFiles(paths: readonly string[]): readonly string[] {
  const isHidden = (path: string) => path.split('/').some((name) => /^[._]/.test(name));
  const rows = paths.filter((path) => {
    const isJson = /\.json(\.gz|\.zst)?$/i.test(path);
    return formatOf(path) !== null && !isHidden(path) && (!isJson || hasSplitName(basename(path)));
  });
  const tables = rows.filter((path) => formatOf(path) === 'parquet');
  return (tables.length > 0 ? tables : rows).toSorted((a, b) => (a < b ? -1 : 1));
}

function splitsOf(
  { patterns, folder }: CardConfiguration,
  paths: readonly string[],
): ReadonlyMap<string, readonly string[]> {
  if (patterns === null) {
    const inside = paths
      .filter((path) => path.startsWith(folder))
      .map((path) => path.slice(folder.length));
    const [first] = layoutByNames(inside).values();
    const own = [...(first?.splits ?? [])];
    return new Map(own.map(([split, names]) => [split, names.map((name) => `${folder}${name}`)]));
  }
  const found = [...patterns].map(([split, globs]) => {
    const fits = globs.map(matcher);
    return [split, paths.filter((path) => fits.some((matches) => matches(path)))] as const;
  });
  return new Map(found.filter(([, names]) => names.length > 0));
}

function layoutByNames(paths: readonly string[]): Layout {
  const found = new Map<string, Map<string, string[]>>();
  for (const path of paths) {
    const [name, split] = place(path);
    const splits = found.get(name) ?? new Map<string, string[]>();
    splits.set(split, [...(splits.get(split) ?? []), path]);
    found.set(name, splits);
  }
  return new Map(
    [...found].map(([name, splits]) => [name, { isDefault: name === DEFAULT, splits }]),
  );
}

/** Configuration and split of a file; one that names no split is all of `train`. */
function place(path: string): readonly [configuration: string, split: string] {
  const folders = dirname(path)
    .split('/')
    .filter((name) => name !== '.');
  const bare = splitName(path);
  const shard = /^(.+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?$/.exec(bare)?.[1];
  const isNumber = /^\d+$/.test(bare);
  // What the Hub makes of the beginning of a very large split.
  const inFolder = isNumber ? folders.pop()?.replace(/^partial-/, '') : undefined;
  const split = inFolder ?? shard ?? (hasSplitName(basename(path)) ? bare : 'train');
  const names = folders[0] === 'data' ? folders.slice(1) : folders;
  return [names.join('/') || DEFAULT, split];
}
