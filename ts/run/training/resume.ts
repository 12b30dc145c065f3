/**
 * A resumed run is the same run: its settings may change only where they do not touch the training.
 */

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { settingsOf } from '../../config/schema.ts';
import { affects } from '../../config/setting.ts';
import type { ModelIdentity } from '../../engine/resolved-model.ts';
import { BpeftError } from '../../errors.ts';
import { kebabCase } from '../../names.ts';
import { pinnedName } from '../inputs/pins.ts';
import type { AdapterIdentity } from '../records/adapter-files.ts';
import type { DatasetRecord } from '../records/dataset-record.ts';

/**
 * What may be a path is written as a name, and compared by content: the base model by its hash,
 * data by theirs.
 * @param recorded the run's settings, by the library's names
 * @param now the settings it is resumed with, as `recordedSettings` writes them
 * @throws {BpeftError} `BPEFT_USAGE` naming the first setting of the training that differs
 */
export function checkSameRun(
  recorded: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
  out: string,
): void {
  for (const { key, setting } of settingsOf('train')) {
    if (setting.decides !== 'training' || setting.recorded !== 'value') continue;
    if (!affects(setting, 'train', now.method)) continue;
    const before = JSON.stringify(recorded[key]);
    const after = JSON.stringify(now[key]);
    if (before === after) continue;
    throw new BpeftError(
      'BPEFT_USAGE',
      `${out} was started with --${kebabCase(key)} ${before ?? 'unset'}, and cannot be resumed with ${after ?? 'unset'}`,
      { hint: 'resume with the settings of the first run, or start over with --overwrite' },
    );
  }
}

/**
 * @param recorded the settings of a finished run, as it has written them
 * @param now the settings it is resumed with, likewise
 * @throws {BpeftError} `BPEFT_USAGE`: it was evaluated otherwise than is asked for now.
 */
export function checkSameEvaluation(
  recorded: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
  out: string,
): void {
  for (const { key, setting } of settingsOf('train')) {
    if (setting.decides !== 'evaluation' || !affects(setting, 'train', now.method)) continue;
    const [before, after] = [JSON.stringify(recorded[key]), JSON.stringify(now[key])];
    if (before === after) continue;
    const message = `${out} is finished with --${kebabCase(key)} ${before ?? 'unset'}, not ${after ?? 'unset'}`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: `evaluate it again with: bpeft eval --run ${out}`,
    });
  }
}

const Hub = z.object({ repository: z.string(), revision: z.string(), configuration: z.string() });
const Named = z.object({ name: z.string(), revision: z.string().nullish(), sha256: z.string() });
const RecordedInputs = z.object({
  model: Named,
  datasets: z.object({
    train: z.object({
      name: z.string(),
      hub: Hub.nullish(),
      files: z.array(z.object({ path: z.string(), sha256: z.string() })),
    }),
  }),
  /** Earlier runs do not say. */
  adapter: Named.nullish(),
});

/**
 * Content decides: a branch may move without touching what the run reads.
 * @throws {BpeftError} `BPEFT_CHECKPOINT`: the base model, the adapter that it began from or the
 * training data are not those of the run, with what differs
 */
export async function checkSameInputs(
  configPath: string,
  now: { baseModel: ModelIdentity; adapter: AdapterIdentity | null; train: DatasetRecord },
): Promise<void> {
  const recorded = RecordedInputs.safeParse(JSON.parse(await readFile(configPath, 'utf8')));
  if (!recorded.success) return refuse(configPath, 'its records are damaged');
  const { model, adapter, datasets } = recorded.data;
  const { baseModel, train } = now;
  requireSame(configPath, 'base model', '--model', model, baseModel);
  if (adapter != null && now.adapter !== null)
    requireSame(configPath, 'first adapter', '--init-adapter', adapter, now.adapter);
  const { hub, files } = datasets.train;
  const changed =
    files.length === train.files.length
      ? files.find(({ sha256 }, at) => sha256 !== train.files[at]?.sha256)?.path.concat(' differs')
      : `it has ${train.files.length} files, and had ${files.length}`;
  if (changed === undefined) return;
  const [before, after] = [hub, train.hub].map((one) => place(train.name, one?.revision));
  const pinned =
    hub == null
      ? null
      : `--dataset ${hub.repository}@${hub.revision}:${hub.configuration.split('+')[0]}`;
  refuse(
    configPath,
    `the run's training data were ${before}, and now are ${after}: ${changed}`,
    pinned,
  );
}

function requireSame(
  configPath: string,
  what: string,
  flag: string,
  before: z.output<typeof Named>,
  now: z.output<typeof Named>,
): void {
  if (before.sha256 === now.sha256) return;
  const [was, is] = [before, now].map(({ name, revision }) => place(name, revision));
  const pinned = pinnedName(before.name, before.revision ?? null);
  refuse(
    configPath,
    `the run's ${what} is ${was}, and now ${is} (SHA-256 ${now.sha256})`,
    pinned === null ? null : `${flag} ${pinned}`,
  );
}

function place(name: string, revision: string | null | undefined): string {
  return revision == null ? name : `${name} at ${revision}`;
}

function refuse(configPath: string, reason: string, pinned: string | null = null): never {
  throw new BpeftError('BPEFT_CHECKPOINT', `${configPath}: ${reason}`, {
    hint: `resume with ${pinned ?? 'the files of the first run'}, or start over with --overwrite`,
  });
}
