/** The settings of a training: as they are asked for, over those of the run that is resumed. */

import { existsSync } from 'node:fs';
import { type Layer, parseSettings } from '../../config/parse.ts';
import { resolveTrain, type TrainConfig } from '../../config/resolve.ts';
import type { TrainOptions } from '../../config/schema.ts';
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

/** @throws {BpeftError} `BPEFT_USAGE`: it was evaluated otherwise than is asked for now. */
export async function finishedRun(folder: RunFolder, config: TrainConfig): Promise<RunResult> {
  const result = await readResult(folder.result);
  checkSameEvaluation(result.run, recordedSettings('train', config), folder.path);
  return result;
}
