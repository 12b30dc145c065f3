/**
 * Methods side by side on the same rows, with intervals: what a difference is worth.
 *
 * On labelled splits: accuracy, ECE, NLL, Brier. On a split without right answers: how well the entropy of the
 * prediction detects it (AUROC against the first labelled split). Intervals are 95 % percentile bootstrap over rows
 * (`metrics/bootstrap.ts`); they know nothing of other seeds.
 */

import { accuracy } from '../metrics/accuracy.ts';
import { AUROC_DEFINITION, auroc } from '../metrics/auroc.ts';
import { type BootstrapOptions, bootstrap, type Draw, type Interval } from '../metrics/bootstrap.ts';
import { brier } from '../metrics/brier.ts';
import { DEFAULT_BINS, ece, type ReliabilityBin, reliability } from '../metrics/ece.ts';
import { entropy } from '../metrics/entropy.ts';
import { nll } from '../metrics/nll.ts';
import type { LabelledRow, ScoredRow } from '../metrics/scored-row.ts';

/** One method's predictions: split → rows, in the same order for every contender. */
export interface Contender {
  readonly name: string;
  readonly predictions: Readonly<Record<string, readonly ScoredRow[]>>;
}

export type ComparedMetric = 'acc' | 'ece' | 'nll' | 'brier';
export const COMPARED_METRICS: readonly ComparedMetric[] = ['acc', 'ece', 'nll', 'brier'];

export interface ComparedMethod {
  readonly name: string;
  readonly metrics: Readonly<Record<ComparedMetric, Interval>>;
  /** This method minus the first one, paired by row; null for the first. */
  readonly difference: Readonly<Record<ComparedMetric, Interval>> | null;
  readonly reliability: readonly ReliabilityBin[];
}

export interface ComparedSplit {
  readonly split: string;
  readonly n: number;
  readonly methods: readonly ComparedMethod[];
}

export interface ComparedDetection {
  readonly inside: { readonly split: string; readonly n: number };
  readonly outside: { readonly split: string; readonly n: number };
  readonly definition: string;
  readonly methods: readonly { readonly name: string; readonly auroc: Interval }[];
}

export function compareSplit(
  split: string,
  contenders: readonly Contender[],
  options: BootstrapOptions = {},
): ComparedSplit {
  const all = contenders.map((contender) => labelled(contender, split));
  const n = all[0]?.length ?? 0;
  const intervals = bootstrap([n], ([draw]) => Object.fromEntries(statistics(all, draw)), options);
  const metricsOf = (prefix: string) =>
    Object.fromEntries(
      COMPARED_METRICS.map((metric) => [metric, intervals[`${prefix} ${metric}`]]),
    ) as Record<ComparedMetric, Interval>;
  const methods = contenders.map(({ name }, index) => ({
    name,
    metrics: metricsOf(`${index}`),
    difference: index === 0 ? null : metricsOf(`${index} minus 0`),
    reliability: reliability(all[index] ?? [], DEFAULT_BINS),
  }));
  return { split, n, methods };
}

export function compareDetection(
  { inside, outside }: { inside: string; outside: string },
  contenders: readonly Contender[],
  options: BootstrapOptions = {},
): ComparedDetection {
  const scores = contenders.map((contender) => ({
    inside: entropies(contender, inside),
    outside: entropies(contender, outside),
  }));
  const sizes = [scores[0]?.inside.length ?? 0, scores[0]?.outside.length ?? 0];
  const statistic = ([into, out]: Draw) =>
    Object.fromEntries(
      scores.map((score, index) => [`${index}`, auroc(pick(score.inside, into), pick(score.outside, out))]),
    );
  const intervals = bootstrap(sizes, statistic, options);
  return {
    inside: { split: inside, n: sizes[0] ?? 0 },
    outside: { split: outside, n: sizes[1] ?? 0 },
    definition: `entropy of the mean probabilities: ${AUROC_DEFINITION}`,
    methods: contenders.map(({ name }, index) => ({ name, auroc: intervals[`${index}`] as Interval })),
  };
}

/** `"<index> <metric>"` of each method, and `"<index> minus 0 <metric>"` against the first. */
function statistics(all: readonly (readonly LabelledRow[])[], draw: Uint32Array | undefined) {
  const values: [string, number][] = [];
  let first: Record<ComparedMetric, number> | null = null;
  for (const [index, rows] of all.entries()) {
    const metrics = metricsOfRows(Array.from(draw ?? [], (row) => rows[row] as LabelledRow));
    for (const metric of COMPARED_METRICS) {
      values.push([`${index} ${metric}`, metrics[metric]]);
      if (first !== null) values.push([`${index} minus 0 ${metric}`, metrics[metric] - first[metric]]);
    }
    first ??= metrics;
  }
  return values;
}

function metricsOfRows(rows: readonly LabelledRow[]): Record<ComparedMetric, number> {
  return { acc: accuracy(rows), ece: ece(rows), nll: nll(rows), brier: brier(rows) };
}

function labelled({ predictions }: Contender, split: string): LabelledRow[] {
  return (predictions[split] ?? []).filter((row): row is LabelledRow => row.label !== null);
}

function entropies({ predictions }: Contender, split: string): Float64Array {
  return Float64Array.from(predictions[split] ?? [], ({ probs }) => entropy(probs));
}

function pick(values: Float64Array, rows: Uint32Array | undefined): Float64Array {
  return Float64Array.from(rows ?? [], (row) => values[row] ?? 0);
}
