/** A resumed run is the same run: its settings may change only where they do not touch the training. */

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { settingsOf } from '../../config/schema.ts';
import { affects } from '../../config/setting.ts';
import type { ModelIdentity } from '../../engine/resolved-model.ts';
import { BpeftError } from '../../errors.ts';
import { kebabCase } from '../../names.ts';
import type { DatasetRecord } from '../records/dataset-record.ts';

/**
 * What may be a path is written as a name, and compared by content: the base model by its hash, data by theirs.
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
    if (!affects(setting, now.method)) continue;
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
    if (setting.decides !== 'evaluation' || !affects(setting, now.method)) continue;
    const [before, after] = [JSON.stringify(recorded[key]), JSON.stringify(now[key])];
    if (before === after) continue;
    const message = `${out} is finished with --${kebabCase(key)} ${before ?? 'unset'}, not ${after ?? 'unset'}`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: `evaluate it again with: bpeft eval --run ${out}`,
    });
  }
}

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
