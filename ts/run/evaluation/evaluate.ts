/**
 * Evaluation of a trained adapter over datasets × splits × sample counts; also out of distribution.
 */

import { type EvalConfig, resolveEval } from '../../config/resolve.ts';
import type { EvaluateOptions } from '../../config/schema.ts';
import type { RowStream } from '../../datasets/rows/item.ts';
import { mayOverlap } from '../../datasets/split-part.ts';
import type { CallOptions } from '../../engine/call.ts';
import type { ModelIdentity } from '../../engine/resolved-model.ts';
import { observed } from '../../events/sinks.ts';
import { answering, openAnswering } from '../inputs/answering.ts';
import { callOf, type RunContext, withModel } from '../inputs/context.ts';
import { encodeSplit, openDataset, refuseSameName, type Split } from '../inputs/splits.ts';
import type { AdapterPlace } from '../inputs/trained-adapter.ts';
import { type AdapterIdentity, adapterIdentity } from '../records/adapter-files.ts';
import { refuseDataFolder } from '../records/data-folder.ts';
import { EvaluationFolder } from '../records/evaluation-folder.ts';
import { writePredictions } from '../records/prediction-files.ts';
import { refuseProtected } from '../records/protected.ts';
import { type EvaluationResult, type RunResult, writeResult } from '../records/result.ts';
import { recordedSettings } from '../records/run-folder.ts';
import type { RunRecord } from '../records/run-record.ts';
import { hardware, versions } from '../records/versions.ts';
import { requireWritable } from '../records/writable.ts';
import { serviceSinks } from '../services.ts';
import { EarlierRows, effectiveSamples, evaluateSplit } from './evaluate-split.ts';
import { requireLabels, rowsOfTemperature, Temperatures } from './temperature.ts';

/**
 * @returns what `result.json` holds; with `out`, each finished part is written at once
 * @throws {BpeftError} `BPEFT_ABORTED`; finished parts stay
 */
export async function evaluate(
  options: EvaluateOptions,
  context: RunContext = {},
): Promise<RunResult> {
  return observed(context.onEvent, { areHeldUntilStart: true }, async (sinks) => {
    const { event: emit } = sinks;
    const begun = await answering('eval', options, resolveEval, context, emit);
    const { place, config } = begun;
    const notice = (message: string) => emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
    for (const sink of await serviceSinks(config, notice)) sinks.add(sink);
    if (config.saveSamples && config.out === undefined)
      notice('--save-samples does nothing without --out');
    const folder = await freeFolder(config, place);
    const datasets = await loadDatasets(config, callOf(context));
    const { signal } = context;
    const reading = { evaluated: datasets, limit: config.limit, ...callOf(context) };
    const heldOut = await rowsOfTemperature(
      trainedOn(place, config, datasets),
      { ...config, trainSplit: place.record?.train_split },
      reading,
    );
    const chose = place.record?.laplace?.held_out?.split;
    if (chose !== undefined && heldOut !== null && isOf(heldOut, place, chose)) {
      notice(
        `${heldOut.name} ${heldOut.split} chose the prior's precision of this adapter too: its temperature is near 1 by that, and says little (--temperature-split names other rows)`,
      );
    }
    return withModel(config, { ...context, emit }, async (model) => {
      const start = performance.now();
      const baseModel = model.resolved;
      await using opened = await openAnswering(begun, model, emit);
      const { adapter, method, rule, stochasticLayers } = opened;
      const splits: Split[] = [];
      const encoding = { model, signal, emit, classes: adapter.info.head?.classes };
      for (const rows of datasets) splits.push(await encodeSplit(rows, config, encoding));
      const fitted = heldOut === null ? null : await encodeSplit(heldOut, config, encoding);
      if (fitted !== null) requireLabels(fitted);
      await using lock = (await folder?.open(config, { signal, notice })) ?? null;
      const out = folder?.path ?? null;
      const dataset = splits[0]?.encoded.name ?? '';
      const head = { method, model: baseModel.name, dataset, out } as const;
      const evaluated = await adapterIdentity(place, { signal });
      const data = { train: null, evaluation: splits.map((split) => split.record) };
      const outline = { method, baseModel, adapter: evaluated, dataset, data };
      const { name, revision, sha256, files } = baseModel;
      const record: RunRecord = {
        ...{ format: 1, command: 'eval', config: recordedSettings('eval', config) },
        model: { name, revision, sha256, files },
        adapter: evaluated,
        datasets: data,
        trainedOn: place.record?.dataset ?? null,
        versions: versions(),
        hardware: hardware(model.info),
      };
      const begin = { ...head, steps: 0, resumedAt: null, plan: null, logged: 0, record };
      emit({ type: 'run-started', command: 'eval', ...begin });
      const evaluations: EvaluationResult[] = [];
      const given = typeof config.temperature === 'number' ? config.temperature : null;
      const temperatures = new Temperatures(fitted ?? given);
      const settings = {
        ...config,
        stochasticLayers,
        rule,
        earlier: new EarlierRows(),
        temperatures,
      };
      let result = evaluationResult(config, outline, evaluations);
      for (const split of splits) {
        for (const samples of effectiveSamples(adapter, config.samples, rule)) {
          const evaluation = await evaluateSplit(adapter, split, samples, settings, {
            signal,
            emit,
          });
          evaluations.push(evaluation.result);
          result = evaluationResult(config, outline, evaluations);
          if (folder !== null) {
            await lock?.requireHeld();
            await writePredictions(folder.predictions, evaluation);
            await writeResult(folder.result, result);
          }
          emit({ type: 'evaluation', step: null, isFinal: true, result: evaluation.result });
        }
      }
      emit({ type: 'finished', command: 'eval', out, seconds: (performance.now() - start) / 1000 });
      return result;
    });
  });
}

/**
 * Where the outcome goes; null: nowhere. @throws {BpeftError} before any work, if it must not go
 * there.
 */
async function freeFolder(
  config: EvalConfig,
  place: AdapterPlace,
): Promise<EvaluationFolder | null> {
  const { out } = config;
  if (out === undefined) return null;
  const folder = new EvaluationFolder(out);
  folder.requireFree(config);
  await refuseProtected(out, [
    { what: 'the model', path: config.model },
    { what: 'the adapter', path: place.folder },
    { what: 'the data folder', path: config.dataDir },
    ...config.dataset.map((path) => ({ what: 'a dataset', path })),
  ]);
  await refuseDataFolder(out, 'folder');
  await requireWritable(out, 'folder');
  return folder;
}

/** Whether some of these rows are of a split of the adapter's own dataset. */
function isOf(rows: RowStream, { record }: AdapterPlace, split: string): boolean {
  return rows.name === record?.dataset && mayOverlap(rows.split, split);
}

/** The dataset that the adapter was trained on: its place, if it is known, or its name. */
function trainedOn(
  { layers, record }: AdapterPlace,
  { dataset, split }: EvalConfig,
  evaluated: readonly RowStream[],
): string {
  const recorded = layers.flatMap(({ values }) =>
    Array.isArray(values.dataset) ? values.dataset : [],
  );
  const [place] = recorded;
  if (typeof place === 'string') return place;
  const same = evaluated.findIndex(({ name }) => name === record?.dataset);
  const splits = split?.length ?? 1;
  return dataset[Math.floor(same / splits)] ?? record?.dataset ?? dataset[0] ?? '';
}

async function loadDatasets(config: EvalConfig, call: CallOptions): Promise<RowStream[]> {
  const datasets: RowStream[] = [];
  for (const name of config.dataset) {
    const source = await openDataset(name, config, call);
    for (const split of config.split ?? [null])
      datasets.push(await source.stream(split, { limit: config.limit, ...call }));
  }
  refuseSameName(datasets);
  return datasets;
}

function evaluationResult(
  config: EvalConfig,
  head: {
    method: string;
    baseModel: ModelIdentity;
    adapter: AdapterIdentity;
    dataset: string;
    data: RunResult['data'];
  },
  evaluations: readonly EvaluationResult[],
): RunResult {
  return {
    format: 1,
    method: head.method,
    model: head.baseModel.name,
    dataset: head.dataset,
    seed: config.seed,
    protocol: config.protocol,
    run: recordedSettings('eval', config),
    adapter: head.adapter,
    training: null,
    evaluations: [...evaluations],
    metrics: evaluations[0]?.metrics ?? null,
    data: head.data,
    versions: versions(),
  };
}
