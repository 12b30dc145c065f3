/** A trained adapter that stays in memory and answers as rows come in: what a service holds. */

import { evaluationBatches } from '../../batches/data-loader.ts';
import type { PredictOptions } from '../../config/schema.ts';
import { formatOf } from '../../datasets/files/file-formats.ts';
import {
  type RowSource,
  type RowToPredict,
  rowsToPredict,
} from '../../datasets/files/read-split.ts';
import { columnsFrom } from '../../datasets/rows/columns.ts';
import type { Item } from '../../datasets/rows/item.ts';
import { classCountOf, taskOf } from '../../datasets/tasks/tasks.ts';
import { type EncodedDataset, encodeDataset } from '../../datasets/tokens/encode.ts';
import { type CallOptions, teller } from '../../engine/call.ts';
import type { BayesianModel } from '../../engine/model.ts';
import { BpeftError, type BpeftErrorCode } from '../../errors.ts';
import { Sinks } from '../../events/sinks.ts';
import { entropy } from '../../metrics/entropy.ts';
import { scaledProbs } from '../../metrics/temperature.ts';
import { effectiveSamples, predictBatch } from '../evaluation/evaluate-split.ts';
import { type OpenAdapter, openAnswering } from '../inputs/answering.ts';
import { openModel, type RunContext } from '../inputs/context.ts';
import type { PredictionRow } from '../records/prediction-files.ts';
import { predictAdaptively } from './adaptive.ts';
import { answer, type Prediction, type RefusedRow, refusal } from './answer.ts';
import { available } from './available.ts';
import { asInput, type PredictInput, type PredictRows } from './input.ts';
import { type PredictorPlan, planPredictor } from './plan.ts';
import type { PredictRow } from './row.ts';

/** Complaints about one row, which leave the others as they are. */
const OF_ONE_ROW: ReadonlySet<BpeftErrorCode> = new Set<BpeftErrorCode>([
  'BPEFT_DATASET',
  'BPEFT_PROMPT_TOO_LONG',
  'BPEFT_LABEL_TOKENS',
  'BPEFT_INVALID_INPUT',
]);

/** Loads the model (unless the context brings one) and the adapter. */
export async function openPredictor(
  options: PredictOptions,
  context: RunContext = {},
): Promise<Predictor> {
  for (const name of ['out', 'overwrite', 'badRows'] as const) {
    if (options[name] === undefined) continue;
    const message = `openPredictor takes no ${name}`;
    throw new BpeftError('BPEFT_USAGE', message, { hint: 'call predictStream() instead' });
  }
  const sinks = new Sinks([context.onEvent]);
  return loadPredictor(await planPredictor(options, context, sinks.event), context, sinks);
}

export async function loadPredictor(
  plan: PredictorPlan,
  context: RunContext,
  sinks: Sinks,
): Promise<Predictor> {
  const model = await openModel(plan.config, context, sinks.event);
  try {
    const opened = await openAnswering(plan, model, sinks.event);
    return Predictor.of({ plan, model, opened, sinks, ownsModel: context.model === undefined });
  } catch (error) {
    if (context.model === undefined) await model.dispose();
    await sinks.close({ status: 'failed', error });
    throw error;
  }
}

interface PredictorParts {
  readonly plan: PredictorPlan;
  readonly model: BayesianModel;
  readonly opened: OpenAdapter;
  readonly sinks: Sinks;
  readonly ownsModel: boolean;
}

/** Made by {@link openPredictor}. */
export class Predictor implements AsyncDisposable {
  readonly #parts: PredictorParts;

  private constructor(parts: PredictorParts) {
    this.#parts = parts;
  }

  /** @internal */
  static of(parts: PredictorParts): Predictor {
    return new Predictor(parts);
  }

  /**
   * One answer per row, in order; the rows have the fields of a dataset's, without the answer.
   * @throws {BpeftError} what is wrong with the first row that cannot be answered
   */
  async predict(rows: readonly PredictRow[], call: CallOptions = {}): Promise<Prediction[]> {
    const answers: Prediction[] = [];
    for await (const batch of this.batches(asInput(rows), call)) {
      for (const { line, error } of batch) {
        if (error !== null) throw error;
        answers.push(line);
      }
    }
    return answers;
  }

  /**
   * Answers as they are ready, in the order of the rows: in constant memory, and without keeping a
   * row waiting for others. A row that cannot be answered has a {@link RefusedRow} in its place.
   * @param input a file's bytes, or rows as they come
   */
  async *stream(
    input: PredictInput | PredictRows,
    call: CallOptions = {},
  ): AsyncGenerator<Prediction | RefusedRow, void, undefined> {
    for await (const batch of this.batches(asInput(input), call))
      for (const { line } of batch) yield line;
  }

  /** @internal The same by batches, with the errors themselves. */
  async *batches(
    input: PredictInput,
    call: CallOptions = {},
  ): AsyncGenerator<Outcome[], void, undefined> {
    const { family, labels, config } = this.#parts.plan;
    const { name, stream, path } = input;
    const format = formatOf(name) ?? 'jsonl';
    const source: RowSource =
      format !== 'parquet'
        ? { file: name, name, format, bytes: stream }
        : path === undefined
          ? { file: name, name, format: 'jsonl', bytes: stream } // refused by its first bytes
          : { file: name, name, format, path };
    const columns = config.columns === undefined ? null : columnsFrom(config.columns);
    const rows = rowsToPredict(source, taskOf(family), { labelNames: labels, columns });
    const told = new Told(this.#parts.sinks, name);
    const tell = teller(call.onProgress);
    let done = 0;
    // A stream that keeps its reader waiting hears of the end by `destroy` only.
    const abandon = () => (stream as { destroy?: () => void }).destroy?.();
    try {
      for await (const batch of available(rows, config.evalBatchSize, call.signal, abandon)) {
        const outcomes = await this.#outcomes(batch, name, told, call);
        done += batch.length;
        yield outcomes;
        tell({ activity: 'predicting', unit: 'rows', done, total: null });
      }
    } finally {
      told.end();
    }
  }

  /** In the order of the rows. */
  async #outcomes(
    rows: readonly RowToPredict[],
    name: string,
    told: Told,
    call: CallOptions,
  ): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    const items: Item[] = [];
    for (const row of rows) {
      if ('error' in row)
        outcomes.push({ line: refusal(row.row, row.id, row.error), error: row.error });
      else items.push(row.item);
    }
    for (const group of this.#groups(items))
      outcomes.push(...(await this.#answers(group, name, told, call)));
    return outcomes.sort((a, b) => a.line.row - b.line.row);
  }

  /** Items for which equally many classes compete, so that an answer depends on its row alone. */
  #groups(items: readonly Item[]): Item[][] {
    const { classCount, config, family } = this.#parts.plan;
    const groups = new Map<number, Item[]>();
    for (const item of items) {
      const own = Math.max(classCount, classCountOf(family, [item]));
      const key = config.classes === 'item' ? 0 : own;
      groups.set(key, [...(groups.get(key) ?? []), item]);
    }
    return [...groups.values()];
  }

  /** Halves a batch with a row that cannot be answered until that row is alone. */
  async #answers(
    items: readonly Item[],
    name: string,
    told: Told,
    call: CallOptions,
  ): Promise<Outcome[]> {
    try {
      return await this.#batch(items, name, told, call);
    } catch (error) {
      if (!(error instanceof BpeftError) || !OF_ONE_ROW.has(error.code)) throw error;
      const [item] = items;
      if (item === undefined) throw error;
      if (items.length === 1) return [{ line: refusal(item.row, item.id, error), error }];
      const half = Math.ceil(items.length / 2);
      return [
        ...(await this.#answers(items.slice(0, half), name, told, call)),
        ...(await this.#answers(items.slice(half), name, told, call)),
      ];
    }
  }

  async #batch(
    items: readonly Item[],
    name: string,
    told: Told,
    call: CallOptions,
  ): Promise<Outcome[]> {
    const { model, opened, plan } = this.#parts;
    const { adapter, rule, stochasticLayers } = opened;
    const { classCount, config, family, labels } = plan;
    const task = taskOf(family);
    const encoded = await encodeDataset(
      {
        name,
        split: 'input',
        family,
        items,
        classCount: Math.max(classCount, classCountOf(family, items)),
        labelNames: labels,
        notices: [],
        files: [],
        licence: null,
        hub: null,
      },
      model,
      { protocol: config, maxSeqLen: config.maxSeqLen, onLong: config.onLong, signal: call.signal },
    );
    const [samples = 0] = effectiveSamples(adapter, [config.samples], rule);
    const settings = { ...config, stochasticLayers, rule };
    const { examples } = encoded;
    const outcomes: Outcome[] = [];
    for await (const batch of evaluationBatches(examples, {
      batchSize: examples.length,
      tail: 'keep',
    })) {
      const rows =
        samples === 'auto'
          ? await predictAdaptively(adapter, batch.examples, settings, call.signal)
          : await predictBatch(adapter, batch, samples, settings, call.signal);
      for (const [index, row] of scaled(rows, config.temperature).entries()) {
        const [item, example] = [items[index], examples[index]];
        if (item === undefined || example === undefined) continue;
        outcomes.push({ line: answer(row, item, task, example), error: null });
      }
    }
    told.of(encoded);
    return outcomes;
  }

  /** Frees the adapter, and the model if it was loaded for this predictor, and closes the sink. */
  async dispose(): Promise<void> {
    const { model, opened, ownsModel, sinks } = this.#parts;
    await sinks.close({ status: 'finished' });
    await (ownsModel ? model : opened.adapter).dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** The answers under a temperature, where one is asked for. */
function scaled<Row extends PredictionRow>(
  rows: readonly Row[],
  temperature: number | undefined,
): readonly Row[] {
  if (temperature === undefined) return rows;
  return rows.map((row) => {
    const probs = [...scaledProbs(row.probs, temperature)];
    return { ...row, probs, entropy: entropy(probs) };
  });
}

/** What became of a row. */
type Outcome =
  | { readonly line: Prediction; readonly error: null }
  | { readonly line: RefusedRow; readonly error: BpeftError };

/** What one input deserves to hear of its prompts: notices once, cuts counted. */
class Told {
  readonly #sinks: Sinks;
  readonly #name: string;
  readonly #notices = new Set<string>();
  #rows = 0;
  #truncated = 0;
  #maxSeqLen = 0;

  constructor(sinks: Sinks, name: string) {
    this.#sinks = sinks;
    this.#name = name;
  }

  of({ examples, maxSeqLen, notices, truncated }: EncodedDataset): void {
    this.#maxSeqLen = maxSeqLen;
    this.#rows += examples.length;
    this.#truncated += truncated;
    for (const message of notices) {
      if (this.#notices.has(message)) continue;
      this.#notices.add(message);
      this.#sinks.event({ type: 'warning', code: 'BPEFT_NOTICE', message });
    }
  }

  end(): void {
    if (this.#truncated === 0) return;
    const counts = `${this.#truncated} of ${this.#rows} prompts`;
    const message = `${this.#name} input: ${counts} were cut to ${this.#maxSeqLen} tokens`;
    this.#sinks.event({ type: 'warning', code: 'BPEFT_PROMPTS_TRUNCATED', message });
  }
}
