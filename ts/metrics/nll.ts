/**
 * Negative log-likelihood of the mean probability, in nats per row.
 *
 * ```text
 * NLL = mean_i −ln p̄_{i, y_i}        p̄: the mean of the samples' softmaxes
 * ```
 *
 * Not clamped: a right class of probability 0 makes it Infinity, as in the reference.
 */

import { type MeanRule, meanOver } from './mean.ts';
import type { LabelledRow } from './scored-row.ts';

export const NLL_DEFINITION = '-ln of the mean probability of the label, nats, not clamped';

export function nll(rows: readonly LabelledRow[], rule: MeanRule = { mean: 'rows' }): number {
  return meanOver(
    rows.map(({ probs, label }) => -Math.log(probs[label] ?? 0)),
    rule,
  );
}
