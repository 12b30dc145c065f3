/** A trained adapter made Bayesian without training: `bpeft bayesianize`. */

import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type BayesianizeConfig, resolveBayesianize } from '../../config/resolve.ts';
import type { BayesianizeOptions } from '../../config/schema.ts';
import type { BayesianModel } from '../../engine/model.ts';
import { BpeftError } from '../../errors.ts';
import { observed } from '../../events/sinks.ts';
import type { AfterTrainingId } from '../../methods/ids.ts';
import type { Look } from '../../methods/tfb.ts';
import { answering, openAnswering } from '../inputs/answering.ts';
import { requireAnswers } from '../inputs/answers.ts';
import { callOf, type RunContext, withModel } from '../inputs/context.ts';
import { encodeSplit, openDataset, type Split } from '../inputs/splits.ts';
import type { AdapterPlace } from '../inputs/trained-adapter.ts';
import { adapterIdentity } from '../records/adapter-files.ts';
import { keptByAdapter, writeAdapterRecord } from '../records/adapter-record.ts';
import { replaceFolder } from '../records/atomic.ts';
import type { FolderLock } from '../records/lock.ts';
import { refuseProtected } from '../records/protected.ts';
import { recordedSettings } from '../records/run-folder.ts';
import { requireWritable } from '../records/writable.ts';
import { LAPLACE } from './laplace.ts';
import { lockMade, requireMade } from './made-before.ts';
import type { LaplaceResult, Made, Maker } from './making.ts';
import { TFB } from './tfb.ts';

export interface BayesianizeResult {
  readonly method: string;
  /** σq of a search; null: there was none. */
  readonly sigma: number | null;
  /** Rows that the search looked at. */
  readonly anchors: number;
  readonly looks: readonly Look[];
  /** Of Laplace's approximation. */
  readonly laplace: LaplaceResult | null;
  readonly out: string;
}

const MAKERS: Readonly<Record<AfterTrainingId, Maker>> = { laplace: LAPLACE, tfb: TFB };

/** @throws {BpeftError} before anything is written. */
export async function bayesianize(
  options: BayesianizeOptions,
  context: RunContext = {},
): Promise<BayesianizeResult> {
  return observed(context.onEvent, {}, async ({ event: emit }) => {
    const start = performance.now();
    const begun = await answering('bayesianize', options, resolveBayesianize, context, emit);
    const { place, config } = begun;
    const { method, out } = config;
    const maker = MAKERS[method];
    maker.check?.(config);
    await requireFree(config, place);
    const call = callOf(context);
    const source = await openDataset(config.dataset, { ...config, split: undefined }, context);
    const trained = trainedOn(source, place);
    const trainSplit = config.trainSplit ?? trained ?? source.trainSplit;
    const other = maker.heldOut({ ...config, trainSplit }, source.defaultSplit, trained);
    const rows = await source.stream(trainSplit, call);
    const heldOutRows = other === null ? null : await source.stream(other, call);
    return withModel(config, { ...context, emit }, async (model) => {
      await refuseOtherModel(place, model);
      const { signal } = context;
      await using opened = await openAnswering(begun, model, emit);
      const { adapter: point, stochasticLayers } = opened;
      const encoding = { model, signal, emit, classes: point.info.head?.classes };
      const settings = { ...config, split: undefined };
      const split = await encodeSplit(rows, settings, encoding);
      const heldOut =
        heldOutRows === null ? null : await encodeSplit(heldOutRows, settings, encoding);
      if (maker.readsAnswers) {
        await requireAnswers(rows, split.encoded, 'to take the curvature from');
        if (heldOutRows !== null && heldOut !== null)
          await requireAnswers(heldOutRows, heldOut.encoded, 'to choose the precision by');
      }
      const notice = (message: string) => emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
      await using lock = await lockMade(config, { signal, notice });
      const making = { config, model, point, stochasticLayers, split, heldOut, emit, signal };
      await using made = await maker.make(making);
      await save(made, config, { model, place, split, heldOut, lock });
      const seconds = (performance.now() - start) / 1000;
      emit({ type: 'finished', command: 'bayesianize', out, seconds });
      const { sigma, anchors, looks } = made.search ?? { sigma: null, anchors: 0, looks: [] };
      return { method, sigma, anchors, looks, laplace: made.laplace, out };
    });
  });
}

/** The split that trained the adapter, if it is one of this dataset and known. */
function trainedOn({ name }: { readonly name: string }, { record }: AdapterPlace) {
  return record?.dataset === name ? record.train_split : undefined;
}

/** @throws {BpeftError} `BPEFT_ADAPTER`: another base model than the adapter was trained on. */
async function refuseOtherModel(place: AdapterPlace, model: BayesianModel): Promise<void> {
  const { record, folder } = place;
  const { name, sha256 } = model.resolved;
  if (record === null || record.base_model.sha256 === sha256) return;
  const trained = `${record.base_model.name} (SHA-256 ${record.base_model.sha256})`;
  const shapes = await shapesText(folder, model);
  const message = `${folder}: the adapter must be of the given model, ${name} (SHA-256 ${sha256}), got one of ${trained}, ${shapes}`;
  throw new BpeftError('BPEFT_ADAPTER', message, {
    hint: 'give the --model that it was trained on',
  });
}

/** Whether an adapter of another model would fit, in the engine's words. */
async function shapesText(folder: string, model: BayesianModel): Promise<string> {
  try {
    await using _ = await model.loadAdapter(folder);
    return 'whose layers have the same shapes';
  } catch (error) {
    if (!(error instanceof BpeftError)) throw error;
    return `whose layers have other shapes (${error.message})`;
  }
}

/** @throws {BpeftError} `BPEFT_RUN_EXISTS`, `BPEFT_USAGE` or `BPEFT_IO`. */
async function requireFree(
  { out, overwrite, model, dataset }: BayesianizeConfig,
  place: AdapterPlace,
) {
  await refuseProtected(out, [
    { what: 'the adapter', path: place.folder },
    { what: 'the model', path: model },
    { what: 'the dataset', path: dataset },
  ]);
  await requireWritable(out, 'folder');
  await requireMade(out, overwrite);
}

interface Saved {
  readonly model: BayesianModel;
  readonly place: AdapterPlace;
  readonly split: Split;
  readonly heldOut: Split | null;
  readonly lock: FolderLock;
}

async function save(
  { adapter, record: kept }: Made,
  config: BayesianizeConfig,
  { model, place, split, heldOut, lock }: Saved,
): Promise<void> {
  const { name, sha256 } = model.resolved;
  const { record } = place;
  const point = await adapterIdentity(place);
  const rows = [split, ...(heldOut === null ? [] : [heldOut])].map(({ record }) => record);
  await mkdir(dirname(config.out), { recursive: true });
  const temporary = join(dirname(config.out), `.${basename(config.out)}.${randomUUID()}.tmp`);
  const fill = async () => {
    await adapter.save(temporary, { baseModel: name });
    await writeAdapterRecord(temporary, {
      format: 1,
      method: config.method,
      sigma: adapter.info.sigma,
      members: adapter.info.members,
      prior_std: null,
      made_of: { name: point.name, revision: point.revision, sha256: point.sha256 },
      made_with: { config: recordedSettings('bayesianize', config), rows },
      ...kept,
      protocol: config.protocol,
      labels: record?.labels ?? (split.labelNames === null ? null : [...split.labelNames]),
      label_tokens: record?.label_tokens ?? { ...split.encoded.labelTokens },
      base_model: { sha256, name },
      dataset: record?.dataset ?? split.encoded.name,
      train_split: record === null ? split.encoded.split : record.train_split,
      family: record?.family ?? split.family,
      ...keptByAdapter(config),
    });
    await requireMade(config.out, config.overwrite);
    await lock.requireHeld();
    await lock.enter(temporary);
  };
  await replaceFolder(config.out, fill, temporary);
}
