/** A trained adapter made Bayesian without training: `bpeft bayesianize`. */

import { existsSync, readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { evaluationBatches } from '../../batches/data-loader.ts';
import { numpyPermutation } from '../../batches/numpy-permutation.ts';
import { permutation } from '../../batches/shuffle.ts';
import { type BayesianizeConfig, resolveBayesianize } from '../../config/resolve.ts';
import type { BayesianizeOptions } from '../../config/schema.ts';
import type { EncodedExample } from '../../datasets/tokens/encode.ts';
import type { Adapter, BayesianModel } from '../../engine/model.ts';
import { BpeftError, throwIfAborted } from '../../errors.ts';
import { observed } from '../../events/sinks.ts';
import { changeOf, type Look, type Search, searchOf, searchSigma } from '../../methods/tfb.ts';
import { posteriorPredictive } from '../../metrics/predictive.ts';
import { answering, openAnswering } from '../inputs/answering.ts';
import { callOf, type RunContext, withModel } from '../inputs/context.ts';
import { encodeSplit, openDataset, type Split } from '../inputs/splits.ts';
import type { AdapterPlace } from '../inputs/trained-adapter.ts';
import { adapterIdentity } from '../records/adapter-files.ts';
import { keptByAdapter, writeAdapterRecord } from '../records/adapter-record.ts';
import { replaceFolder } from '../records/atomic.ts';
import { refuseProtected } from '../records/protected.ts';
import { requireWritable } from '../records/writable.ts';

export interface BayesianizeResult {
  readonly method: string;
  /** σq. */
  readonly sigma: number;
  readonly anchors: number;
  readonly looks: readonly Look[];
  readonly out: string;
}

/** The reference shuffles its anchors by this seed, whatever the run's is. */
const REFERENCE_SEED = 42;

/** @throws {BpeftError} before anything is written. */
export async function bayesianize(
  options: BayesianizeOptions,
  context: RunContext = {},
): Promise<BayesianizeResult> {
  return observed(context.onEvent, {}, async ({ event: emit }) => {
    const start = performance.now();
    const begun = await answering('bayesianize', options, resolveBayesianize, context, emit);
    const { place, config } = begun;
    const search = searchOf(config);
    await requireFree(config, place);
    const source = await openDataset(config.dataset, { ...config, split: undefined }, context);
    const rows = await source.stream(config.trainSplit ?? source.trainSplit, callOf(context));
    return withModel(config, { ...context, emit }, async (model) => {
      refuseOtherModel(place, model);
      const { signal } = context;
      await using opened = await openAnswering(begun, model, emit);
      const { adapter: point, stochasticLayers } = opened;
      const encoding = { model, signal, emit, classes: point.info.head?.classes };
      const split = await encodeSplit(rows, { ...config, split: undefined }, encoding);
      const anchors = await anchorRows(split, config);
      const rule = config.protocol === 'reference' ? 'reference' : 'exact';
      await using unit = await point.isotropic({ rule, stochasticLayers });
      const ask = async (sigma: number): Promise<Float64Array[]> => {
        await using adapter = await unit.withSigmaTimes(sigma);
        return await answers(adapter, anchors, sigma === 0 ? 0 : config.samples, config, signal);
      };
      const looks: Look[] = [];
      // The reference then takes the upper end as it is.
      const skips = search.iterations === 0 && config.protocol === 'reference';
      const before = skips ? [] : await ask(0);
      const measure = async (sigma: number) => changeOf(search, before, await ask(sigma));
      const sigma = skips
        ? search.high
        : await searchSigma(search, measure, (look) => {
            looks.push(look);
            emit({
              type: 'look',
              ...look,
              tolerance: search.tolerance,
              criterion: search.criterion,
            });
          });
      await using found = await unit.withSigmaTimes(sigma);
      const { criterion, tolerance } = search;
      const kept = { sigma, criterion, tolerance, anchors: anchors.length, looks };
      await save(found, config, { model, place, split, search: kept });
      emit({
        type: 'finished',
        command: 'bayesianize',
        out: config.out,
        seconds: (performance.now() - start) / 1000,
      });
      return { method: config.method, sigma, anchors: anchors.length, looks, out: config.out };
    });
  });
}

/** @throws {BpeftError} `BPEFT_ADAPTER`: another base model than the adapter was trained on. */
function refuseOtherModel({ record, folder }: AdapterPlace, model: BayesianModel): void {
  const { name, sha256 } = model.resolved;
  if (record === null || record.base_model.sha256 === sha256) return;
  const trained = `${record.base_model.name} (SHA-256 ${record.base_model.sha256})`;
  const message = `${folder}: the adapter must be of the given model, ${name} (SHA-256 ${sha256}), got one of ${trained}`;
  throw new BpeftError('BPEFT_ADAPTER', message, {
    hint: 'give the --model that it was trained on',
  });
}

/** The anchors, by a permutation of the split's rows. */
async function anchorRows(
  { encoded }: Split,
  config: BayesianizeConfig,
): Promise<EncodedExample[]> {
  const { length } = encoded.examples;
  const order =
    config.protocol === 'reference'
      ? numpyPermutation(length, REFERENCE_SEED)
      : permutation(length, config.seed, 0);
  return encoded.examples.read(order.subarray(0, config.anchors));
}

/** Probabilities of each row, under noise that depends on the seed alone. */
async function answers(
  adapter: Adapter,
  rows: readonly EncodedExample[],
  samples: number,
  { evalBatchSize, noise, sampling, seed }: BayesianizeConfig,
  signal: AbortSignal | undefined,
): Promise<Float64Array[]> {
  const probs: Float64Array[] = [];
  for await (const { batch } of evaluationBatches(rows, {
    batchSize: evalBatchSize,
    tail: 'keep',
  })) {
    throwIfAborted(signal);
    const asked = { samples, noise, sampling, seed, stochasticLayers: null };
    const logits = await adapter.predict(batch, asked, { signal });
    const passes = logits.length / batch.answers.length;
    probs.push(...posteriorPredictive(logits, batch.answerOffsets, passes).probs);
  }
  return probs;
}

/** What an adapter's folder may hold; a folder with anything else is never replaced. */
const OWN_NAMES =
  /^(adapter_config\.json|adapter_model\.safetensors|bpeft\.json|README\.md|adapter_\d+)$/;

/** @throws {BpeftError} `BPEFT_RUN_EXISTS`, `BPEFT_USAGE` or `BPEFT_IO`, before any work. */
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
  const held = existsSync(out) ? readdirSync(out) : [];
  if (held.length === 0) return;
  const foreign = held.find((name) => !OWN_NAMES.test(name));
  if (foreign !== undefined) {
    const message = `${out} holds ${foreign}, which is no part of an adapter, and is not replaced`;
    throw new BpeftError('BPEFT_RUN_EXISTS', message, { hint: 'give another --out' });
  }
  if (overwrite) return;
  const message = `${out} already holds an adapter`;
  throw new BpeftError('BPEFT_RUN_EXISTS', message, { hint: 'give another --out, or --overwrite' });
}

interface Saved {
  readonly model: BayesianModel;
  readonly place: AdapterPlace;
  readonly split: Split;
  readonly search: Pick<Search, 'criterion' | 'tolerance'> &
    Pick<BayesianizeResult, 'sigma' | 'anchors' | 'looks'>;
}

async function save(
  adapter: Adapter,
  config: BayesianizeConfig,
  { model, place, split, search }: Saved,
): Promise<void> {
  const { name, sha256 } = model.resolved;
  const { record } = place;
  const point = await adapterIdentity(place);
  await mkdir(dirname(config.out), { recursive: true });
  await replaceFolder(config.out, async (temporary) => {
    await adapter.save(temporary, { baseModel: name });
    await writeAdapterRecord(temporary, {
      format: 1,
      method: config.method,
      sigma: adapter.info.sigma,
      members: adapter.info.members,
      prior_std: null,
      made_of: { name: point.name, revision: point.revision, sha256: point.sha256 },
      search: {
        ...search,
        // JSON has no NaN, which is the change of answers that are none.
        looks: search.looks
          .filter(({ change }) => Number.isFinite(change))
          .map(({ sigma, change, isWithin }) => ({ sigma, change, is_within: isWithin })),
      },
      protocol: config.protocol,
      labels: record?.labels ?? (split.labelNames === null ? null : [...split.labelNames]),
      label_tokens: record?.label_tokens ?? { ...split.encoded.labelTokens },
      base_model: { sha256, name },
      dataset: record?.dataset ?? split.encoded.name,
      family: record?.family ?? split.family,
      ...keptByAdapter(config),
    });
  });
}
