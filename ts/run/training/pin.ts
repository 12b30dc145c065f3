/** Writes the lock file of a training run: `bpeft lock`. */

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseSettings } from '../../config/parse.ts';
import { resolveTrain, type TrainConfig } from '../../config/resolve.ts';
import type { TrainOptions } from '../../config/schema.ts';
import type { CallOptions } from '../../engine/call.ts';
import { findModel } from '../../engine/model-source.ts';
import { resolveModel } from '../../engine/resolved-model.ts';
import { BpeftError } from '../../errors.ts';
import { observed } from '../../events/sinks.ts';
import { adapterFolder } from '../inputs/adapter-folder.ts';
import { callOf, type RunContext } from '../inputs/context.ts';
import { type Pins, pinnedDataset, pinnedName, readPins } from '../inputs/pins.ts';
import { openDataset } from '../inputs/splits.ts';
import { adapterIdentity } from '../records/adapter-files.ts';
import { io, replaceJson } from '../records/atomic.ts';
import { refuseDataFolder } from '../records/data-folder.ts';
import { refuseProtected } from '../records/protected.ts';
import { type PlaceWords, requireWritable } from '../records/writable.ts';
import { trainedInputs } from './trained-inputs.ts';

/**
 * Brings the model and the adapter, and reads every split that training and its evaluation read,
 * whole.
 * @param path undefined: no file is written
 * @returns what the file at `path` then holds
 * @throws {BpeftError} `BPEFT_USAGE`, `BPEFT_RUN_EXISTS`: `path` is an input, or no lock file
 */
export async function pin(
  options: TrainOptions,
  path: string | undefined,
  context: RunContext = {},
): Promise<Pins> {
  return observed(context.onEvent, {}, async () => {
    const config = resolveTrain(parseSettings('train', [{ origin: 'option', values: options }]));
    if (path !== undefined) await requireReplaceable(path, config);
    const call = callOf(context);
    const names = [...new Set([config.dataset, ...(config.evalDataset ?? [config.dataset])])];
    const datasets: Pins['datasets'] = [];
    const splits: Pins['splits'] = [];
    for (const name of names) {
      const source = await openDataset(name, config, call);
      datasets.push({ named: name, pinned: pinnedDataset(source.hub) });
      const isTrained = name === config.dataset;
      const isEvaluated = (config.evalDataset ?? [config.dataset]).includes(name);
      const wanted = new Set([
        ...(isTrained ? [config.trainSplit ?? source.trainSplit] : []),
        ...(isEvaluated ? (config.split ?? [source.defaultSplit]) : []),
      ]);
      for (const split of wanted) {
        const isByDefault = config.split === undefined && split === source.defaultSplit;
        if (isByDefault && !source.splits.includes(split)) continue;
        const { name, files } = await source.stream(split, call);
        const hashed = files.map(({ path, sha256 }) => ({ path, sha256: sha256 ?? '' }));
        splits.push({ name, split, files: hashed });
      }
    }
    const found = await resolveModel(await findModel(config.model, call), call);
    const pinned = pinnedName(found.name, found.revision);
    const model = { named: config.model, pinned, sha256: found.sha256 };
    const adapter = await pinnedAdapter(config.initAdapter, call);
    const pins: Pins = { format: 1, model, adapter, datasets, splits };
    if (path === undefined) return pins;
    await io(path, () => mkdir(dirname(path), { recursive: true }));
    await replaceJson(path, pins);
    return pins;
  });
}

/** The command has it as an argument. */
const LOCK_FILE: PlaceWords = { place: 'the lock file', remedy: 'name another file' };

/** @throws {BpeftError} before any work, if `path` is more than a lock file that may be renewed */
async function requireReplaceable(path: string, config: TrainConfig): Promise<void> {
  await refuseProtected(path, trainedInputs(config, { isWhole: true }), LOCK_FILE);
  await refuseDataFolder(path, 'file', LOCK_FILE);
  await requireWritable(path, 'file', LOCK_FILE);
  if (!existsSync(path)) return;
  try {
    await readPins(path);
  } catch (cause) {
    throw new BpeftError('BPEFT_RUN_EXISTS', `${path} is no lock file, and is not replaced`, {
      hint: 'name another file, or move it away; the model is named by --model',
      cause,
    });
  }
}

async function pinnedAdapter(
  named: string | undefined,
  call: CallOptions,
): Promise<Pins['adapter']> {
  if (named === undefined) return null;
  const found = await adapterFolder('--init-adapter', named, call);
  const { name, revision, sha256 } = await adapterIdentity(found, call);
  return { named, pinned: pinnedName(name, revision), sha256 };
}
