/**
 * Methods side by side on the same rows, with intervals: what a difference is worth.
 *
 * On labelled splits: accuracy, ECE, NLL, Brier. On a split without right answers: how well the
 * entropy of the prediction detects it (AUROC against the first labelled split). Intervals are 95 %
 * percentile bootstrap over rows (`metrics/bootstrap.ts`). A contender with several runs, of other
 * seeds, has the mean of its runs' measures, all on the same drawn rows: its intervals know of
 * other rows, and of these seeds only.
 */

import { AUROC_DEFINITION, auroc } from '../metrics/auroc.ts';
import {
  type BootstrapOptions,
  bootstrap,
  type Draw,
  type Interval,
} from '../metrics/bootstrap.ts';
import { DEFAULT_BINS, type ReliabilityBin, reliability } from '../metrics/ece.ts';
import { entropy } from '../metrics/entropy.ts';
import { meanOf } from '../metrics/mean.ts';
import { MEASURES, type Measure, type MeasuresOf, rowMeasures } from '../metrics/row-measures.ts';
import type { LabelledRow, ScoredRow } from '../metrics/scored-row.ts';

/** One method's predictions. */
export interface Contender {
  readonly name: string;
  /** At least one; each split → rows, in the same order for every run of every contender. */
  readonly runs: readonly Readonly<Record<string, readonly ScoredRow[]>>[];
}

export type ComparedMetric = Measure;
export const COMPARED_METRICS: readonly ComparedMetric[] = MEASURES;

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
  const all = contenders.map(({ runs }) => runs.map((run) => labelled(run, split)));
  const n = all[0]?.[0]?.length ?? 0;
  const measures = all.map((runs) => meanMeasures(runs.map(rowMeasures)));
  const intervals = bootstrap(
    [n],
    ([draw]) => Object.fromEntries(statistics(measures, draw)),
    options,
  );
  const metricsOf = (prefix: string) =>
    Object.fromEntries(
      COMPARED_METRICS.map((metric) => [metric, intervals[`${prefix} ${metric}`]]),
    ) as Record<ComparedMetric, Interval>;
  const methods = contenders.map(({ name }, index) => ({
    name,
    metrics: metricsOf(`${index}`),
    difference: index === 0 ? null : metricsOf(`${index} minus 0`),
    reliability: reliability((all[index] ?? []).flat(), DEFAULT_BINS),
  }));
  return { split, n, methods };
}

export function compareDetection(
  { inside, outside }: { inside: string; outside: string },
  contenders: readonly Contender[],
  options: BootstrapOptions = {},
): ComparedDetection {
  const scores = contenders.map(({ runs }) =>
    runs.map((run) => ({ inside: entropies(run, inside), outside: entropies(run, outside) })),
  );
  const sizes = [scores[0]?.[0]?.inside.length ?? 0, scores[0]?.[0]?.outside.length ?? 0];
  const statistic = ([into, out]: Draw) =>
    Object.fromEntries(
      scores.map((runs, index) => [
        `${index}`,
        meanOf(runs.map((run) => auroc(pick(run.inside, into), pick(run.outside, out)))),
      ]),
    );
  const intervals = bootstrap(sizes, statistic, options);
  return {
    inside: { split: inside, n: sizes[0] ?? 0 },
    outside: { split: outside, n: sizes[1] ?? 0 },
    definition: `entropy of the mean probabilities: ${AUROC_DEFINITION}`,
    methods: contenders.map(({ name }, index) => ({
      name,
      auroc: intervals[`${index}`] as Interval,
    })),
  };
}

/** `"<index> <metric>"` of each method, and `"<index> minus 0 <metric>"` against the first. */
function statistics(all: readonly MeasuresOf[], draw: Uint32Array = new Uint32Array(0)) {
  const values: [string, number][] = [];
  let first: Record<ComparedMetric, number> | null = null;
  for (const [index, measuresOf] of all.entries()) {
    const metrics = measuresOf(draw);
    for (const metric of COMPARED_METRICS) {
      values.push([`${index} ${metric}`, metrics[metric]]);
      if (first !== null)
        values.push([`${index} minus 0 ${metric}`, metrics[metric] - first[metric]]);
    }
    first ??= metrics;
  }
  return values;
}

function meanMeasures(runs: readonly MeasuresOf[]): MeasuresOf {
  return (draw) => {
    const each = runs.map((measuresOf) => measuresOf(draw));
    const mean = (metric: ComparedMetric) => meanOf(each.map((measures) => measures[metric]));
    return { acc: mean('acc'), ece: mean('ece'), nll: mean('nll'), brier: mean('brier') };
  };
}

type Run = Contender['runs'][number];

function labelled(run: Run, split: string): LabelledRow[] {
  return (run[split] ?? []).filter((row): row is LabelledRow => row.label !== null);
}

function entropies(run: Run, split: string): Float64Array {
  return Float64Array.from(run[split] ?? [], ({ probs }) => entropy(probs));
}

function pick(values: Float64Array, rows: Uint32Array | undefined): Float64Array {
  return Float64Array.from(rows ?? [], (row) => values[row] ?? 0);
}
