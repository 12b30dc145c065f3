/**
 * Methods side by side over the runs of a report: mean and sample standard deviation over seeds,
 * differences to the first method with paired intervals (`comparison.ts`), time and memory.
 */

import type { Measure } from '../metrics/row-measures.ts';
import type { LabelledRow } from '../metrics/scored-row.ts';
import { TEMPERATURES } from '../metrics/temperature.ts';
import { quantile } from '../run/records/result.ts';
import { type ComparedMethod, compareSplit } from './comparison.ts';
import { type PublishedNumber, publishedNumbers } from './published.ts';
import type { ReadEvaluation, ReportedRun } from './reported-run.ts';

/** One method on one split, over the seeds that were run. */
export interface ComparedCell {
  /** What the runs are called by: their method, or the name that a table gives it. */
  readonly method: string;
  readonly model: string;
  readonly samples: number;
  /** How the answers of a curvature were made; null where there is none. */
  readonly link: string | null;
  readonly trainedOn: string | null;
  /** Mean temperature; null: the probabilities as they came. */
  readonly temperature: number | null;
  /** Seeds of which the NLL has no least temperature: theirs is an end of the range. */
  readonly seedsAtEnd: number;
  readonly dataset: string;
  readonly split: string;
  readonly rows: number;
  readonly seeds: number;
  readonly metrics: Readonly<Record<Measure, Spread>>;
  /** What a perfectly calibrated model with these confidences would score; null: unknown. */
  readonly eceFloor: number | null;
  /**
   * Minus the first method of the same split, both scaled or both not: mean over seeds, 95 % paired
   * bootstrap interval over rows. Null for the first, and without the same rows.
   */
  readonly difference: ComparedMethod['difference'];
  /** Time of an answer, all samples of it, median over the seeds; null: unknown. */
  readonly msPerRow: number | null;
  /** Largest memory of the runs' processes, MB; null: unknown. */
  readonly peakRssMb: number | null;
  readonly published: readonly PublishedNumber[];
}

export interface Spread {
  readonly mean: number | null;
  readonly sd: number | null;
}

interface Group {
  readonly key: string;
  readonly runs: ReportedRun[];
  readonly evaluations: ReadEvaluation[];
}

export function comparedCells(runs: readonly ReportedRun[]): ComparedCell[] {
  const groups = new Map<string, Group>();
  for (const run of runs) {
    for (const evaluation of run.evaluations) {
      const { dataset, split, samples, link = null, temperature } = evaluation;
      const place = [run.model, run.protocol, dataset, split, temperature !== null];
      const key = JSON.stringify([run.label, run.trainedOn, samples, link, ...place]);
      const group = groups.get(key) ?? { key: JSON.stringify(place), runs: [], evaluations: [] };
      group.runs.push(run);
      group.evaluations.push(evaluation);
      groups.set(key, group);
    }
  }
  const all = [...groups.values()];
  const found = differences(all);
  return all.map((group) => cell(group, found.get(group) ?? null));
}

function cell(
  { runs, evaluations }: Group,
  difference: ComparedMethod['difference'],
): ComparedCell {
  const [run] = runs;
  const [first] = evaluations;
  const { label: method = '', model = '', trainedOn = null } = run ?? {};
  const { dataset = '', split = '', samples = 0, n: rows = 0 } = first ?? {};
  const link = first?.link ?? null;
  const over = (metric: Measure) =>
    spread(evaluations.map(({ metrics }) => metrics[metric] ?? null));
  const { mean: temperature } = spread(evaluations.map((one) => one.temperature));
  const seedsAtEnd = evaluations.filter((one) => isAtEnd(one.temperature)).length;
  const times = evaluations.map(({ n, seconds }) =>
    seconds === undefined || n === 0 ? null : (1000 * seconds) / n,
  );
  const memory = runs.map(({ peakRssMb }) => peakRssMb).filter((peak) => peak !== null);
  return {
    ...{ method, model, samples, link, trainedOn, temperature, seedsAtEnd, dataset, split, rows },
    seeds: evaluations.length,
    metrics: { acc: over('acc'), ece: over('ece'), nll: over('nll'), brier: over('brier') },
    eceFloor: spread(evaluations.map(({ metrics }) => metrics.ece_noise_floor ?? null)).mean,
    difference,
    msPerRow: median(times),
    peakRssMb: memory.length === 0 ? null : Math.max(...memory),
    // Published ones are of answers as they came.
    published:
      temperature === null && run !== undefined
        ? publishedNumbers({ method: run.method, model, samples, dataset, trainedOn })
        : [],
  };
}

function isAtEnd(temperature: number | null): boolean {
  return temperature === TEMPERATURES.least || temperature === TEMPERATURES.most;
}

/** Of each group against the first of its split, where both have the same rows with answers. */
function differences(groups: readonly Group[]): Map<Group, ComparedMethod['difference']> {
  const found = new Map<Group, ComparedMethod['difference']>();
  for (const key of new Set(groups.map((group) => group.key))) {
    const known = groups.filter(
      (group) => group.key === key && group.evaluations.every(({ rows }) => rows !== null),
    );
    const rowsOf = ({ evaluations }: Group) => evaluations.map(({ rows }) => labelled(rows ?? []));
    const answers = (rows: readonly LabelledRow[]) => rows.map(({ label }) => label).join();
    const expected = answers(known[0] === undefined ? [] : (rowsOf(known[0])[0] ?? []));
    const same = known.filter((group) => rowsOf(group).every((rows) => answers(rows) === expected));
    if (same.length < 2 || expected === '' || same[0] !== groups.find((group) => group.key === key))
      continue;
    const contenders = same.map((group) => ({
      name: '',
      runs: rowsOf(group).map((rows) => ({ rows })),
    }));
    const { methods } = compareSplit('rows', contenders);
    for (const [index, group] of same.entries())
      found.set(group, methods[index]?.difference ?? null);
  }
  return found;
}

function labelled(rows: NonNullable<ReadEvaluation['rows']>) {
  return rows.filter((row): row is typeof row & LabelledRow => row.label !== null);
}

function median(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 || known.length < values.length ? null : quantile(known, 0.5);
}

function spread(values: readonly (number | null)[]): Spread {
  const known = values.filter((value) => value !== null);
  if (known.length === 0 || known.length < values.length) return { mean: null, sd: null };
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  if (known.length === 1) return { mean, sd: null };
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: Math.sqrt(squares / (known.length - 1)) };
}
