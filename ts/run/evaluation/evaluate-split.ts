/**
 * One evaluation: a split, a number of posterior samples, the metrics of the mean probabilities.
 */

import { evaluationBatches } from '../../batches/data-loader.ts';
import type { RaggedBatch } from '../../batches/ragged-batch.ts';
import type { EncodedExample } from '../../datasets/tokens/encode.ts';
import type { Adapter } from '../../engine/adapter.ts';
import { throwIfAborted } from '../../errors.ts';
import type { Listener } from '../../events/sinks.ts';
import type { PredictiveRule } from '../../methods/method.ts';
import { type Detection, detection } from '../../metrics/detection.ts';
import { flipRatio } from '../../metrics/flip-ratio.ts';
import { type Predictive, posteriorPredictive } from '../../metrics/predictive.ts';
import { metricsReport } from '../../metrics/report.ts';
import { SampleSpread } from '../../metrics/sample-spread.ts';
import type { ScoredRow } from '../../metrics/scored-row.ts';
import type { DataProtocol } from '../../protocol/data-protocol.ts';
import type { Split } from '../inputs/splits.ts';
import type { PredictionRow } from '../records/prediction-files.ts';
import type { EvaluationResult } from '../records/result.ts';
import { scaledResult, type Temperatures } from './temperature.ts';

export interface EvaluationSettings {
  readonly evalBatchSize: number;
  readonly evaluationTail: 'drop' | 'keep';
  readonly metricMean: 'batches' | 'rows';
  readonly sampling: DataProtocol['sampling'];
  readonly seed: number;
  readonly stochasticLayers: number | null;
  readonly processes?: number | undefined;
  readonly saveSamples?: boolean | undefined;
  readonly rule: PredictiveRule;
  readonly earlier: EarlierRows;
  readonly temperatures: Temperatures;
}

export interface Evaluation {
  readonly result: EvaluationResult;
  readonly rows: readonly PredictionRow[];
}

type Place = Detection['against'];

interface Evaluated {
  readonly place: Place;
  readonly samples: number;
  readonly rows: readonly ScoredRow[];
}

/** What was evaluated before, as far as later evaluations are held against it. */
export class EarlierRows {
  /** Of the first split, one of each number of samples. */
  readonly #first: Evaluated[] = [];
  /** Of the last split. */
  #last: Evaluated[] = [];

  /** How its rows stand out from those of the first split, and differ from others of its own. */
  compared(evaluated: Evaluated): Pick<EvaluationResult, 'detection' | 'flipRatio'> {
    const { place, samples, rows } = evaluated;
    const isSamePlace = ({ place: { dataset, split } }: Evaluated) =>
      dataset === place.dataset && split === place.split;
    const first = this.#first.find((one) => one.samples === samples);
    if (first === undefined) this.#first.push(evaluated);
    this.#last = this.#last.filter(isSamePlace);
    const other = this.#last.find((one) => (one.samples === 0) !== (samples === 0));
    this.#last.push(evaluated);
    return {
      detection: first === undefined ? null : detection(first.place, first.rows, rows),
      flipRatio: other === undefined ? null : flipRatio(rows, other.rows),
    };
  }
}

/** A split's rows with their probabilities. */
interface Answers {
  readonly rows: readonly PredictionRow[];
  readonly truncated: number;
  readonly spread: SampleSpread;
}

/**
 * The sample counts that differ for this adapter: a point adapter has one prediction, whatever is
 * asked for, and it is reported as samples 0; an ensemble of points has as many as members; a
 * closed form is one.
 */
export function effectiveSamples<Count extends number | 'auto'>(
  adapter: Adapter,
  samples: readonly Count[],
  { dropout, link = 'sample' }: PredictiveRule,
): readonly (Count | number)[] {
  const { bayesian, members } = adapter.info;
  if (link !== 'sample') return [...new Set(samples.map((count) => (count === 0 ? 0 : 1)))];
  if (bayesian || dropout > 0) return [...new Set(samples)];
  return [members > 1 ? members : 0];
}

/** Passes behind an answer: every member of an ensemble has its own samples. */
function passes({ info }: Adapter, samples: number, { dropout, link = 'sample' }: PredictiveRule) {
  const { bayesian, members } = info;
  const isOfEach = members > 1 && link === 'sample' && (bayesian || dropout > 0);
  return isOfEach ? members * samples : samples;
}

export async function evaluateSplit(
  adapter: Adapter,
  split: Split,
  samples: number,
  settings: EvaluationSettings,
  call: { signal?: AbortSignal | undefined; emit: Listener },
): Promise<Evaluation> {
  const answers = (of: Split) => answersTo(adapter, of, samples, settings, call);
  const temperature = await settings.temperatures.of(samples, answers);
  const start = performance.now();
  const { rows, truncated, spread } = await answers(split);
  const options = {
    mean: settings.metricMean,
    batchSize: settings.evalBatchSize,
    positive: split.positive,
  };
  const report = metricsReport(rows, options);
  const place = { dataset: split.encoded.name, split: split.encoded.split };
  return {
    rows,
    result: {
      ...place,
      samples: passes(adapter, samples, settings.rule),
      link: samples === 0 ? null : (settings.rule.link ?? null),
      noise: settings.rule.noise,
      sampling: settings.sampling,
      seed: settings.seed,
      n: report.n,
      nTruncated: truncated,
      metrics: report.metrics,
      definitions: report.definitions,
      reliability: report.reliability,
      ...settings.earlier.compared({ place, samples, rows }),
      scaled: temperature === null ? null : scaledResult(rows, temperature, options),
      std: spread.mean,
      seconds: Math.round(performance.now() - start) / 1000,
    },
  };
}

async function answersTo(
  adapter: Adapter,
  { encoded }: Split,
  samples: number,
  settings: EvaluationSettings,
  call: { signal?: AbortSignal | undefined; emit: Listener },
): Promise<Answers> {
  const rows: PredictionRow[] = [];
  const spread = new SampleSpread();
  let truncated = 0;
  const batches = evaluationBatches(encoded.examples, {
    batchSize: settings.evalBatchSize,
    tail: settings.evaluationTail,
    processes: settings.processes ?? 1,
  });
  for await (const { batch, examples } of batches) {
    truncated += examples.filter((example) => example.truncated).length;
    throwIfAborted(call.signal);
    const asked = { ...settings, spread };
    rows.push(...(await predictBatch(adapter, { batch, examples }, samples, asked, call.signal)));
    call.emit({
      type: 'evaluation-progress',
      dataset: encoded.name,
      split: encoded.split,
      samples,
      done: rows.length,
      rows: encoded.examples.length,
    });
  }
  return { rows, truncated, spread };
}

/** Predictions of one batch, in its order. */
export async function predictBatch(
  adapter: Adapter,
  { batch, examples }: { batch: RaggedBatch; examples: readonly EncodedExample[] },
  samples: number,
  settings: Pick<
    EvaluationSettings,
    'sampling' | 'seed' | 'stochasticLayers' | 'saveSamples' | 'rule'
  > & {
    readonly spread?: SampleSpread;
  },
  signal: AbortSignal | undefined,
): Promise<PredictionRow[]> {
  const { rule, sampling, seed, stochasticLayers } = settings;
  const options = {
    samples,
    sampling,
    seed,
    stochasticLayers,
    noise: rule.noise,
    dropout: rule.dropout,
    link: rule.link,
  };
  const logits = await adapter.predict(batch, options, { signal });
  const { answerOffsets } = batch;
  const answers = logits.length / batch.answers.length; // of each sample and member
  const predictive = posteriorPredictive(logits, answerOffsets, answers, rule.average);
  settings.spread?.add(logits, answerOffsets, answers);
  const perSample =
    settings.saveSamples === true ? sampleProbs(logits, answerOffsets, answers) : null;
  return examples.map((example, index) => ({
    ...predictionRow(example, predictive, index),
    ...(perSample === null ? {} : { sampleProbs: perSample[index] ?? [] }),
  }));
}

/** Prompt `index` of a predictive, under the name of its row. */
export function predictionRow(
  example: EncodedExample,
  predictive: Predictive,
  index: number,
): PredictionRow {
  return {
    row: example.row,
    ...(example.id === null ? {} : { id: example.id }),
    label: example.label < 0 ? null : example.label,
    probs: [...(predictive.probs[index] ?? [])],
    entropy: predictive.entropy[index] ?? 0,
    mutualInformation: predictive.mutualInformation?.[index] ?? null,
  };
}

/** Softmax of each sample alone: prompt → sample → probabilities. */
function sampleProbs(
  logits: Float32Array,
  answerOffsets: Uint32Array,
  samples: number,
): number[][][] {
  const width = answerOffsets.at(-1) ?? 0;
  return [...answerOffsets.subarray(0, -1)].map((from, prompt) => {
    const to = answerOffsets[prompt + 1] ?? from;
    return Array.from({ length: Math.max(1, samples) }, (_, sample) => {
      const one = logits.subarray(sample * width + from, sample * width + to);
      const offsets = Uint32Array.of(0, to - from);
      return [...(posteriorPredictive(one, offsets, 1).probs[0] ?? [])];
    });
  });
}
