/**
 * Two means over rows.
 *
 * ```text
 * rows     (1/n) Σ_i v_i
 * batches  (1/B) Σ_b (1/n_b) Σ_{i∈b} v_i      rows in file order, batch size given; the reference's mean
 * ```
 *
 * Equal where all batches are full. Of no rows the mean is NaN.
 */

export interface MeanRule {
  readonly mean: 'rows' | 'batches';
  /** Needed for `batches`. */
  readonly batchSize?: number;
}

export const MEAN_DEFINITIONS: Readonly<Record<MeanRule['mean'], string>> = {
  rows: 'mean over rows',
  batches: 'unweighted mean of batch means',
};

export function meanOver(values: readonly number[], { mean, batchSize }: MeanRule): number {
  if (mean === 'rows') return meanOf(values);
  if (batchSize === undefined) throw new TypeError('a mean of batch means needs the batch size');
  const means: number[] = [];
  for (let start = 0; start < values.length; start += batchSize) {
    means.push(meanOf(values.slice(start, start + batchSize)));
  }
  return meanOf(means);
}

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
