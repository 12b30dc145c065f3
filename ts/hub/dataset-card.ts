/**
 * What the head of a dataset's README.md says: its licence, and which files are which
 * configuration's.
 */

import { parse } from 'yaml';
import { z } from 'zod';

const Paths = z.union([z.string(), z.array(z.string())]);
const Files = z.union([Paths, z.array(z.object({ split: z.string(), path: Paths }))]);
const Configuration = z.object({
  config_name: z.string(),
  data_files: Files.optional(),
  data_dir: z.string().optional(),
  default: z.boolean().optional(),
});
const Card = z.object({
  license: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .catch(undefined),
  configs: z.array(Configuration).optional().catch(undefined),
});

export interface CardConfiguration {
  readonly name: string;
  readonly isDefault: boolean;
  /** Split → patterns of its files; null: the names of the files in `folder` tell. */
  readonly patterns: ReadonlyMap<string, readonly string[]> | null;
  readonly folder: string;
}

export interface DatasetCard {
  readonly licence: string | null;
  /** Null: the names of all files tell. */
  readonly configurations: readonly CardConfiguration[] | null;
}

/** What cannot be read of it counts as not said. */
export function datasetCard(readme: string): DatasetCard {
  const [, head = ''] = /^---\r?\n(.*?)\r?\n---/s.exec(readme) ?? [];
  const card = Card.safeParse(yaml(head));
  const { license, configs } = card.success ? card.data : {};
  return {
    licence: license === undefined ? null : [license].flat().join(', '),
    configurations:
      configs === undefined || configs.length === 0 ? null : configs.map(configuration),
  };
}

/** Aliases are not expanded: a card is not trusted to stay small. */
function yaml(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 0 });
  } catch {
    return null;
  }
}

function configuration(config: z.output<typeof Configuration>): CardConfiguration {
  const { config_name: name, data_files: files, data_dir: dir } = config;
  const folder = dir === undefined ? '' : `${dir.replace(/^\.\/|\/+$/g, '')}/`;
  const inFolder = (paths: string | readonly string[]) =>
    [paths].flat().map((path) => `${folder}${path}`);
  const patterns = new Map<string, readonly string[]>();
  for (const one of files === undefined ? [] : [files].flat()) {
    const [split, paths] =
      typeof one === 'string' ? ['train', inFolder(one)] : [one.split, inFolder(one.path)];
    patterns.set(split, [...(patterns.get(split) ?? []), ...paths]);
  }
  return {
    name,
    isDefault: config.default === true,
    patterns: patterns.size === 0 ? null : patterns,
    folder,
  };
}
