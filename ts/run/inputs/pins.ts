/**
 * A lock file: the model and the data of a configuration, by commits and hashes, so that a run
 * elsewhere or later reads the same bytes or refuses.
 */

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { TrainConfig } from '../../config/resolve.ts';
import type { DatasetSource } from '../../datasets/registry.ts';
import type { ModelIdentity } from '../../engine/resolved-model.ts';
import { BpeftError } from '../../errors.ts';
import type { AdapterIdentity } from '../records/adapter-files.ts';
import { io } from '../records/atomic.ts';
import type { DatasetRecord } from '../records/dataset-record.ts';

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const PinsFile = z.object({
  format: z.literal(1),
  model: z.object({
    /** As the configuration names it. */
    named: z.string(),
    /** The name with its commit; null: no model of the Hub. */
    pinned: z.string().nullable(),
    sha256: Sha256,
  }),
  /** What training begins from; missing: a fresh one. */
  adapter: z.object({ named: z.string(), pinned: z.string().nullable(), sha256: Sha256 }).nullish(),
  datasets: z.array(z.object({ named: z.string(), pinned: z.string().nullable() })),
  /** Of each split that is read. */
  splits: z.array(
    z.object({
      name: z.string(),
      split: z.string(),
      files: z.array(z.object({ path: z.string(), sha256: Sha256 })),
    }),
  ),
});

export type Pins = z.output<typeof PinsFile>;

/** @throws {BpeftError} `BPEFT_USAGE`: it is no lock file; `BPEFT_IO` */
export async function readPins(path: string): Promise<Pins> {
  const text = await io(path, () => readFile(path, 'utf8'));
  try {
    return PinsFile.parse(JSON.parse(text));
  } catch (cause) {
    throw new BpeftError('BPEFT_USAGE', `${path} is no lock file of format 1`, {
      hint: 'write it with bpeft lock',
      cause,
    });
  }
}

/** Of a model or an adapter `org/name@commit[:file]`; null: not of the Hub. */
export function pinnedName(name: string, revision: string | null): string | null {
  return revision === null ? null : name.replace(/(?=:|$)/, `@${revision}`);
}

/**
 * `org/name@commit:configuration`; null: not of the Hub, or of several configurations, which hashes
 * alone hold.
 */
export function pinnedDataset(hub: DatasetRecord['hub'] | DatasetSource['hub']): string | null {
  if (hub === null || hub.configuration.includes('+')) return null;
  return `${hub.repository}@${hub.revision}:${hub.configuration}`;
}

/**
 * The configuration with commits in its names. @throws {BpeftError} `BPEFT_USAGE`: the file is of
 * another one
 */
export function pinnedConfig(config: TrainConfig, pins: Pins, path: string): TrainConfig {
  const { model, adapter } = pins;
  const refuse = (what: string, name: string, known: readonly string[]) => {
    throw new BpeftError(
      'BPEFT_USAGE',
      `${path} does not hold the ${what} ${name}, but ${known.join(', ')}`,
      {
        hint: 'write the lock file anew with bpeft lock, or leave --lock out',
      },
    );
  };
  const names = pins.datasets.map(({ named }) => named);
  const dataset = (name: string): string => {
    const found = pins.datasets.find(({ named, pinned }) => named === name || pinned === name);
    return found === undefined ? refuse('dataset', name, names) : (found.pinned ?? name);
  };
  if (![model.named, model.pinned].includes(config.model))
    refuse('model', config.model, [model.named]);
  const first = config.initAdapter;
  const known = adapter == null ? [] : [adapter.named, adapter.pinned];
  if (first !== undefined && !known.includes(first))
    refuse('adapter', first, adapter == null ? ['none'] : [adapter.named]);
  return {
    ...config,
    model: model.pinned ?? config.model,
    ...(first === undefined ? {} : { initAdapter: adapter?.pinned ?? first }),
    dataset: dataset(config.dataset),
    ...(config.evalDataset === undefined ? {} : { evalDataset: config.evalDataset.map(dataset) }),
  };
}

/** @throws {BpeftError} `BPEFT_USAGE`: the model, the adapter or a file of rows has other bytes */
export function checkPins(
  pins: Pins,
  path: string,
  {
    model,
    initAdapter,
    records,
  }: {
    model: ModelIdentity;
    initAdapter: AdapterIdentity | null;
    records: readonly DatasetRecord[];
  },
): void {
  const refuse = (what: string, hash: string | null, pinned: string | undefined) => {
    const message = `${what} has the SHA-256 ${hash}, where ${path} holds ${pinned ?? 'no such file'}`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: 'restore what was locked, or write the lock file anew with bpeft lock',
    });
  };
  if (model.sha256 !== pins.model.sha256)
    refuse(`the model ${model.name}`, model.sha256, pins.model.sha256);
  if (initAdapter !== null && initAdapter.sha256 !== pins.adapter?.sha256)
    refuse(`the adapter ${initAdapter.name}`, initAdapter.sha256, pins.adapter?.sha256);
  for (const { name, split, files } of records) {
    const held = pins.splits.find((one) => one.name === name && one.split === split);
    for (const { path: file, sha256 } of files) {
      const pinned = held?.files.find((one) => one.path === file)?.sha256;
      // A limit left the end of the file unread: then nothing is known of it.
      if (sha256 !== null && sha256 !== pinned)
        refuse(`${name} ${split}, ${file},`, sha256, pinned);
    }
  }
}
