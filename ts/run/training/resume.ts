/** A resumed run is the same run: its settings may change only where they do not touch the training. */

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { ModelIdentity } from '../../engine/resolved-model.ts';
import { BpeftError } from '../../errors.ts';
import { kebabCase, toCamelKeys } from '../../names.ts';
import type { DatasetRecord } from '../inputs/splits.ts';

/** Settings that decide no number of the training. */
const FREE = new Set([
  'device',
  'threads',
  'checkpointEvery',
  'checkpointing',
  'dataDir',
  'out',
  'resume',
  'overwrite',
  'dryRun',
  // What is evaluated after the last update:
  'evalSamples',
  'evalDataset',
  'evalLimit',
  'evalBatchSize',
  'sampling',
  'split',
]);

/**
 * @param recorded the run's settings, by the library's names
 * @param now the settings it is resumed with, as `recordedSettings` writes them
 * @throws {BpeftError} `BPEFT_USAGE` naming the first setting that differs
 */
export function checkSameRun(
  recorded: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
  out: string,
): void {
  const current = toCamelKeys(now);
  for (const key of new Set([...Object.keys(recorded), ...Object.keys(current)])) {
    if (FREE.has(key) || PATHS.has(key)) continue;
    const before = JSON.stringify(recorded[key]);
    const after = JSON.stringify(current[key]);
    if (before === after) continue;
    throw new BpeftError(
      'BPEFT_USAGE',
      `${out} was started with --${kebabCase(key)} ${before ?? 'unset'}, and cannot be resumed with ${after ?? 'unset'}`,
      { hint: 'resume with the settings of the first run, or start over with --overwrite' },
    );
  }
}

/** Written as names, compared by content: the base model by its hash, data by theirs. */
const PATHS = new Set(['model', 'dataset', 'initAdapter']);

const RecordedInputs = z.object({
  model: z.object({ sha256: z.string() }),
  datasets: z.object({ train: z.object({ files: z.array(z.object({ sha256: z.string() })) }) }),
});

/** @throws {BpeftError} `BPEFT_CHECKPOINT`: the base model or the training data are not those of the run. */
export async function checkSameInputs(
  configPath: string,
  now: { baseModel: ModelIdentity; train: DatasetRecord },
): Promise<void> {
  const recorded = RecordedInputs.safeParse(JSON.parse(await readFile(configPath, 'utf8')));
  if (!recorded.success) return refuse(configPath, 'its records are damaged');
  const { model, datasets } = recorded.data;
  if (model.sha256 !== now.baseModel.sha256) refuse(configPath, `the run's base model is another one`);
  const before = datasets.train.files.map(({ sha256 }) => sha256).join();
  if (before !== now.train.files.map(({ sha256 }) => sha256).join()) {
    refuse(configPath, `the run's training data have changed`);
  }
}

function refuse(configPath: string, reason: string): never {
  throw new BpeftError('BPEFT_CHECKPOINT', `${configPath}: ${reason}`, {
    hint: 'resume with the files of the first run, or start over with --overwrite',
  });
}
