/** The settings of a training: as they are asked for, over those of the run that is resumed. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Layer, parseSettings } from '../../config/parse.ts';
import { resolveTrain, type TrainConfig } from '../../config/resolve.ts';
import type { TrainOptions } from '../../config/schema.ts';
import { BpeftError } from '../../errors.ts';
import { trainingMethod } from '../../methods/registry.ts';
import { adapterFiles } from '../records/adapter-files.ts';
import { latestCheckpoint } from '../records/checkpoint.ts';
import { type RunResult, readResult } from '../records/result.ts';
import { RunFolder, recordedSettings } from '../records/run-folder.ts';
import { checkSameEvaluation, checkSameRun } from './resume.ts';

/** The options over the settings of the run that is resumed. */
export async function trainConfig(options: TrainOptions): Promise<TrainConfig> {
  const own: Layer = { origin: 'option', values: options };
  const bare = parseSettings('train', [own]);
  // Where the run lies may itself follow from method, dataset and seed.
  const out =
    bare.out ?? (bare.resume && bare.dataset !== undefined ? resolveTrain(bare).out : undefined);
  if (!bare.resume || out === undefined || !existsSync(new RunFolder(out).config)) {
    // the default one, where none is named: no run has another to go on with
    const { method } = bare;
    return resolveTrain(
      parseSettings('train', [{ origin: 'option', values: { ...options, method } }]),
    );
  }
  const recorded = await new RunFolder(out).settings();
  const config = resolveTrain(parseSettings('train', [recorded, own]));
  checkSameRun(recorded.values, recordedSettings('train', config), out);
  return { ...config, out };
}

/**
 * Its result; null: files of its adapter are gone, and its last checkpoint has what they held.
 * @throws {BpeftError} `BPEFT_USAGE`: it was evaluated otherwise than is asked for now;
 * `BPEFT_ADAPTER`: files of its adapter are gone, and no checkpoint is there.
 */
export async function finishedRun(
  folder: RunFolder,
  config: TrainConfig,
  notice: (message: string) => void,
): Promise<RunResult | null> {
  const result = await readResult(folder.result);
  checkSameEvaluation(result.run, recordedSettings('train', config), folder.path);
  const { members = 1 } = trainingMethod(config.method).adapter(config);
  const lost = adapterFiles(members).map((name) => join(folder.adapter, name));
  const [gone] = lost.filter((path) => !existsSync(path));
  if (gone === undefined) return result;
  if ((await latestCheckpoint(folder.state)) === null) {
    throw new BpeftError('BPEFT_ADAPTER', `${gone} is gone, and no checkpoint in ${folder.state}`, {
      hint: 'bring the file back, or train again with --overwrite',
    });
  }
  notice(`${gone} is gone: the adapter is written anew from the last checkpoint`);
  return null;
}
