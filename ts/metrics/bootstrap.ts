/**
 * Percentile intervals by resampling rows (Efron & Tibshirani 1993, §13.3).
 *
 * ```text
 * for b = 1 … R: draw n rows of the n with replacement, compute the statistic θ_b
 * interval = [quantile(θ, (1 − level) / 2), quantile(θ, (1 + level) / 2)]      linear between order statistics
 * ```
 *
 * All statistics of one call see the same draws, so that the difference of two methods on the same
 * rows has a paired interval. Groups are resampled apart. The ECE of a resample is biased upwards,
 * as is the ECE of any finite set: its interval may lie mostly above the estimate.
 */

import { randomBelow } from './random.ts';

export interface Interval {
  readonly value: number;
  readonly lower: number;
  readonly upper: number;
}

export interface BootstrapOptions {
  /** R; 1,000 unless given. */
  readonly resamples?: number;
  /** Coverage; 0.95 unless given. */
  readonly level?: number;
  readonly seed?: number;
}

/** One list of row numbers per group. */
export type Draw = readonly Uint32Array[];

/**
 * @param sizes rows of each group
 * @param statistics of the rows with these numbers; the same keys for every draw
 */
export function bootstrap<Name extends string>(
  sizes: readonly number[],
  statistics: (draw: Draw) => Readonly<Record<Name, number>>,
  { resamples = 1000, level = 0.95, seed = 1 }: BootstrapOptions = {},
): Record<Name, Interval> {
  const values = statistics(
    sizes.map((size) => Uint32Array.from({ length: size }, (_, row) => row)),
  );
  const names = Object.keys(values) as Name[];
  const drawn = new Map(names.map((name) => [name, new Float64Array(resamples)]));
  const below = randomBelow(seed);
  for (let resample = 0; resample < resamples; resample += 1) {
    const draw = sizes.map((size) => Uint32Array.from({ length: size }, () => below(size)));
    for (const [name, value] of Object.entries(statistics(draw)) as [Name, number][]) {
      const all = drawn.get(name);
      if (all !== undefined) all[resample] = value;
    }
  }
  const interval = (name: Name): Interval => {
    const sorted = (drawn.get(name) ?? new Float64Array(0)).sort();
    return {
      value: values[name],
      lower: interpolated(sorted, (1 - level) / 2),
      upper: interpolated(sorted, (1 + level) / 2),
    };
  };
  return Object.fromEntries(names.map((name) => [name, interval(name)])) as Record<Name, Interval>;
}

/** Quantile of sorted values, linear between its neighbours. */
function interpolated(sorted: Float64Array, fraction: number): number {
  const place = fraction * (sorted.length - 1);
  const [before, after] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  if (before === undefined || after === undefined) return Number.NaN;
  return before === after ? before : before + (after - before) * (place - Math.floor(place));
}
