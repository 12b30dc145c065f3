/**
 * The temperature of an evaluation: a given number, or fitted on a split that is held out, for each
 * number of samples by itself.
 */

import type { RowStream } from '../../datasets/rows/item.ts';
import { mayOverlap } from '../../datasets/split-part.ts';
import type { CallOptions } from '../../engine/call.ts';
import { BpeftError } from '../../errors.ts';
import { labelledRows } from '../../metrics/metric.ts';
import { nll } from '../../metrics/nll.ts';
import { metricsReport, type ReportOptions } from '../../metrics/report.ts';
import type { ScoredRow } from '../../metrics/scored-row.ts';
import { fittedTemperature, scaledProbs } from '../../metrics/temperature.ts';
import { type DataSettings, openDataset, type Split } from '../inputs/splits.ts';
import type { ScaledResult } from '../records/result.ts';

/** What a run's settings ask for; undefined: nothing is scaled. */
interface TemperatureSettings {
  readonly temperature?: 'fit' | number | undefined;
  readonly temperatureSplit?: string | undefined;
}

/**
 * The rows that the temperature is fitted on; null where none is.
 * @param dataset the one that the adapter was trained on
 * @throws {BpeftError} `BPEFT_USAGE`: these rows train the adapter, or are evaluated
 */
export async function rowsOfTemperature(
  dataset: string,
  config: TemperatureSettings & DataSettings & { readonly trainSplit?: string | undefined },
  {
    evaluated,
    ...read
  }: {
    readonly evaluated: readonly RowStream[];
    readonly limit?: number | undefined;
  } & CallOptions,
): Promise<RowStream | null> {
  const { temperature, temperatureSplit } = config;
  if (temperature !== 'fit') {
    if (temperatureSplit === undefined) return null;
    throw new BpeftError('BPEFT_USAGE', '--temperature-split is the split of --temperature fit', {
      hint: 'give --temperature fit, or leave --temperature-split out',
    });
  }
  const source = await openDataset(dataset, config, read);
  const split = temperatureSplit ?? source.defaultSplit;
  const refuse = (what: string) => {
    const message = `--temperature fit needs rows that are held out: ${source.name} ${split} ${what}`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: 'give --temperature-split another split',
    });
  };
  if (mayOverlap(split, config.trainSplit ?? source.trainSplit)) refuse('trains the adapter');
  if (evaluated.some((rows) => rows.name === source.name && mayOverlap(rows.split, split)))
    refuse('is evaluated');
  return source.stream(split, read);
}

/** @throws {BpeftError} `BPEFT_DATASET`: no row of the split says what is right. */
export function requireLabels({ encoded }: Split): void {
  const { examples, name, split } = encoded;
  if (examples.labels.some((label) => label >= 0)) return;
  const message = `${name} ${split}: a temperature is fitted on rows with a right answer, got none in ${examples.length} rows`;
  throw new BpeftError('BPEFT_DATASET', message, {
    hint: 'give --temperature-split another split',
  });
}

/** A temperature, and the rows that it was fitted on; null: it was given. */
type Temperature = Pick<ScaledResult, 'temperature' | 'fit'>;

/** The temperature of each number of samples: given, or fitted on the answers to a split. */
export class Temperatures {
  readonly #asked: number | Split | null;
  readonly #bySamples = new Map<number, Temperature>();

  /** @param asked null: nothing is scaled */
  constructor(asked: number | Split | null) {
    this.#asked = asked;
  }

  async of(
    samples: number,
    answers: (split: Split) => Promise<{ readonly rows: readonly ScoredRow[] }>,
  ): Promise<Temperature | null> {
    if (this.#asked === null) return null;
    if (typeof this.#asked === 'number') return { temperature: this.#asked, fit: null };
    const known = this.#bySamples.get(samples);
    if (known !== undefined) return known;
    const { name, split } = this.#asked.encoded;
    const { rows } = await answers(this.#asked);
    const found = fitOn({ dataset: name, split }, rows);
    this.#bySamples.set(samples, found);
    return found;
  }
}

function fitOn(
  { dataset, split }: { readonly dataset: string; readonly split: string },
  rows: readonly ScoredRow[],
): Temperature {
  const labelled = labelledRows(rows);
  const temperature = fittedTemperature(labelled);
  const scaled = labelledRows(scaledRows(labelled, temperature));
  return {
    temperature,
    fit: { dataset, split, n: labelled.length, nll: nll(labelled), nllScaled: nll(scaled) },
  };
}

/** What the measures of these rows are under a temperature. */
export function scaledResult(
  rows: readonly ScoredRow[],
  found: Temperature,
  options: ReportOptions,
): ScaledResult {
  const { metrics, reliability } = metricsReport(scaledRows(rows, found.temperature), options);
  return { ...found, metrics, reliability };
}

/** How far samples disagree, the mutual information, is of the samples, and stays. */
export function scaledRows(rows: readonly ScoredRow[], temperature: number): ScoredRow[] {
  return rows.map((row) => ({ ...row, probs: scaledProbs(row.probs, temperature) }));
}
