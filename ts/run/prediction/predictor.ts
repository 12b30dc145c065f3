/** A trained adapter that stays in memory and answers as rows come in: what a service holds. */

import { type EvaluationBatch, evaluationBatches } from '../../batches/data-loader.ts';
import { type Layer, parseSettings } from '../../config/parse.ts';
import { type PredictConfig, resolvePredict } from '../../config/resolve.ts';
import type { PredictOptions } from '../../config/schema.ts';
import { formatOf } from '../../datasets/files/file-formats.ts';
import { datasetFromStream, listDatasets, resolveDataset } from '../../datasets/registry.ts';
import { type Dataset, letter, type TaskFamily, type TaskKind } from '../../datasets/rows/item.ts';
import { isTaskFamily, taskOf } from '../../datasets/tasks/tasks.ts';
import { encodeDataset } from '../../datasets/tokens/encode.ts';
import type { CallOptions } from '../../engine/call.ts';
import type { Adapter, BayesianModel } from '../../engine/model.ts';
import { BpeftError } from '../../errors.ts';
import { Sinks } from '../../events/sinks.ts';
import type { PredictiveRule } from '../../methods/method.ts';
import { predictiveRule } from '../../methods/registry.ts';
import { effectiveSamples, predictBatch } from '../evaluation/evaluate-split.ts';
import { openModel, type RunContext, withModelOf } from '../inputs/context.ts';
import { tellCuts } from '../inputs/splits.ts';
import { type AdapterPlace, findAdapter, openAdapter, stochasticLayers } from '../inputs/trained-adapter.ts';
import type { PredictionRow } from '../records/prediction-files.ts';
import { type AdaptiveRow, predictAdaptively } from './adaptive.ts';

/** One answer. Probabilities and labels (class names in classification) are in the order of the row's choices. */
export interface Prediction {
  /** Position in the input, from 0. */
  readonly row: number;
  readonly id?: string;
  readonly labels: readonly string[];
  /** The most probable label. */
  readonly prediction: string;
  readonly probs: readonly number[];
  /** Whether the prompt was too long, and what is answered is a shorter one. */
  readonly truncated: boolean;
  /** Of the mean probabilities, nats. */
  readonly entropy: number;
  /** With `samples: 'auto'`: how many it took. */
  readonly samples?: number;
  /** With `samples: 'auto'`: whether the bound holds; false after 256 samples that left it open. */
  readonly settled?: boolean;
  /** What more data could settle, nats; null below 2 samples. */
  readonly mutual_information: number | null;
}

export interface PredictInput {
  /** For messages: the file's name, or `<stdin>`. One that ends in `.csv` makes the stream CSV. */
  readonly name: string;
  /** Where the stream comes from, if it is a file: `out` must not be the same. */
  readonly path?: string | undefined;
  /** JSON Lines or CSV, UTF-8, in the fields of a dataset's rows; no answer is needed. */
  readonly stream: AsyncIterable<Uint8Array>;
}

/** What a predictor will be made of: known before anything is loaded. */
export interface PredictorPlan {
  readonly place: AdapterPlace;
  readonly config: PredictConfig;
  readonly family: TaskFamily;
}

export async function planPredictor(options: PredictOptions, context: RunContext): Promise<PredictorPlan> {
  const own: Layer = {
    origin: 'option',
    values: withModelOf(options, context, new Sinks([context.onEvent]).event),
  };
  const { run, adapter } = parseSettings('predict', [own]);
  const place = await findAdapter({ run, adapter, datasetIsList: false });
  const config = resolvePredict(parseSettings('predict', [...place.layers, own]));
  const family = await familyOf(options.dataset, place.record?.family ?? null, config.task);
  return { place, config, family };
}

/** Loads the model (unless the context brings one) and the adapter. */
export async function openPredictor(options: PredictOptions, context: RunContext = {}): Promise<Predictor> {
  for (const name of ['out', 'overwrite'] as const) {
    if (options[name] === undefined) continue;
    const message = `openPredictor takes no ${name}`;
    throw new BpeftError('BPEFT_USAGE', message, { hint: 'call predict() instead' });
  }
  return loadPredictor(await planPredictor(options, context), context);
}

export async function loadPredictor(plan: PredictorPlan, context: RunContext): Promise<Predictor> {
  const { place, config, family } = plan;
  const sinks = new Sinks([context.onEvent]);
  const model = await openModel(config, context);
  try {
    const call = { sigma: config.sigma, emit: sinks.event };
    const loaded = await openAdapter(place, model, call);
    return new Predictor({
      config,
      family,
      model,
      adapter: loaded,
      sampling: stochasticLayers(config.stochasticLayers, model, loaded),
      rule: predictiveRule(place.record?.method, loaded.info, config.protocol),
      sinks,
      ownsModel: context.model === undefined,
    });
  } catch (error) {
    if (context.model === undefined) await model.dispose();
    await sinks.close({ status: 'failed', error });
    throw error;
  }
}

interface PredictorParts {
  readonly config: PredictConfig;
  readonly family: TaskFamily;
  readonly model: BayesianModel;
  readonly adapter: Adapter;
  /** Places that sample, from the end; null = all. */
  readonly sampling: number | null;
  readonly rule: PredictiveRule;
  readonly sinks: Sinks;
  readonly ownsModel: boolean;
}

/** @hideconstructor Use {@link openPredictor}. */
export class Predictor implements AsyncDisposable {
  readonly #parts: PredictorParts;

  constructor(parts: PredictorParts) {
    this.#parts = parts;
  }

  /** One answer per row, in order; the rows have the fields of a dataset's, without the answer. */
  async predict(rows: readonly object[], call: CallOptions = {}): Promise<Prediction[]> {
    const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
    return this.predictStream({ name: 'input', stream: oneChunk(lines) }, call);
  }

  /** The same for JSON Lines. */
  async predictStream(input: PredictInput, call: CallOptions = {}): Promise<Prediction[]> {
    const { config, family } = this.#parts;
    const labels = config.labels ?? null;
    const dataset = await datasetFromStream({
      ...input,
      format: formatOf(input.name) ?? 'jsonl',
      family,
      labels,
      // Without known classes, those of the rows are all there is.
      isPredicted: family !== 'classification' || labels !== null,
    });
    return this.#answers(dataset, call);
  }

  async #answers(dataset: Dataset, call: CallOptions): Promise<Prediction[]> {
    const { adapter, config, model, rule, sampling, sinks } = this.#parts;
    const { maxSeqLen, onLong } = config;
    const options = { protocol: config, maxSeqLen, onLong, signal: call.signal };
    const encoded = await encodeDataset(dataset, model, options);
    tellCuts(encoded, maxSeqLen, sinks.event);
    const cut = new Set(encoded.examples.filter(({ truncated }) => truncated).map(({ row }) => row));
    const task = taskOf(dataset.family);
    const items = new Map(dataset.items.map((item) => [item.row, item]));
    const [samples = 0] = effectiveSamples(adapter, [config.samples], rule);
    const settings = { ...config, stochasticLayers: sampling, rule };
    const answersTo = (batch: EvaluationBatch): Promise<(PredictionRow | AdaptiveRow)[]> =>
      samples === 'auto'
        ? predictAdaptively(adapter, batch.examples, settings, call.signal)
        : predictBatch(adapter, batch, samples, settings, call.signal);
    const answers: Prediction[] = [];
    for (const batch of evaluationBatches(encoded.examples, {
      batchSize: config.evalBatchSize,
      tail: 'keep',
    })) {
      const rows = await answersTo(batch);
      answers.push(
        ...rows.map((row) => {
          const item = items.get(row.row);
          return answer(row, item === undefined ? [] : task.names(item), cut.has(row.row));
        }),
      );
    }
    return answers;
  }

  /** Frees the model, if it was loaded for this predictor, and closes the sink. */
  async dispose(): Promise<void> {
    await this.#parts.sinks.close({ status: 'finished' });
    if (this.#parts.ownsModel) await this.#parts.model.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

async function* oneChunk(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function answer(
  { row, id, probs, entropy, mutual_information, samples, settled }: PredictionRow & Partial<AdaptiveRow>,
  names: readonly string[],
  truncated: boolean,
): Prediction {
  // In protocol reference more classes may compete than the row has choices: those have letters only.
  const labels = probs.map((_, index) => names[index] ?? letter(index));
  const best = probs.indexOf(Math.max(...probs));
  return {
    row,
    ...(id === undefined ? {} : { id }),
    labels,
    prediction: labels[best] ?? '',
    probs,
    truncated,
    entropy,
    mutual_information,
    ...(samples === undefined ? {} : { samples, settled: settled ?? false }),
  };
}

/** The prompt's family: of the named dataset, else the one the adapter was trained on. */
async function familyOf(
  dataset: string | undefined,
  recorded: string | null,
  task: TaskKind | undefined,
): Promise<TaskFamily> {
  const named = listDatasets().find(({ name }) => name === dataset);
  if (named !== undefined) return named.family;
  if (dataset !== undefined) return (await resolveDataset(dataset, { task })).family;
  const family = recorded ?? task;
  if (family === undefined || !isTaskFamily(family)) {
    throw new BpeftError('BPEFT_USAGE', 'the form of the prompts is not known for this adapter', {
      hint: 'give --dataset NAME (bpeft datasets list) or --task multiple-choice|classification',
    });
  }
  return family;
}
