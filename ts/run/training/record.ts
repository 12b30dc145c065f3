/** What a training run records of its session. */

import type { RunResult } from '../records/result.ts';
import { recordedSettings } from '../records/run-folder.ts';
import type { RanksRecord, RunRecord } from '../records/run-record.ts';
import { hardware, versions } from '../records/versions.ts';
import type { Session } from './session.ts';

/** The rows that were trained on, and those of the evaluations. */
export function dataRecord({ train, evaluations }: Session): RunResult['data'] {
  return { train: train.record, evaluation: evaluations.map(({ record }) => record) };
}

/** Of a run that several processes began. */
export function ranksRecord(session: Session): RanksRecord | undefined {
  const { accounting, config, division, trainer } = session;
  if (division.merged === 1) return undefined;
  const rowsPerUpdate = config.batchSize * accounting.batchesPerUpdate;
  return { size: division.merged, rowsPerUpdate, summedBy: trainer.summedBy };
}

/** `config.json`. */
export function runRecord(session: Session): RunRecord {
  const { config, model } = session;
  const { name, revision, sha256, files } = model.resolved;
  const { architecture, format, parameters, precision, tensorTypes, blockTypes } = model.info;
  return {
    format: 1,
    command: 'train',
    config: recordedSettings('train', config),
    model: {
      name,
      revision,
      sha256,
      files,
      architecture,
      format,
      parameters,
      precision,
      tensorTypes,
      blockTypes,
    },
    adapter: session.initAdapter,
    datasets: dataRecord(session),
    ranks: ranksRecord(session),
    versions: versions(),
    hardware: hardware(model.info),
  };
}
