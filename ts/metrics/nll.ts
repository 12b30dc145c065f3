/**
 * Negative log-likelihood of the mean probability, in nats per row.
 *
 * ```text
 * NLL = mean_i −ln p̄_{i, y_i}        p̄: the mean of the samples' softmaxes
 * ```
 *
 * Not clamped: a right class of probability 0 makes it Infinity, as in the reference.
 */

import { MEAN_DEFINITIONS, type MeanRule, meanOver } from './mean.ts';
import { ofLabelled } from './metric.ts';
import type { LabelledRow } from './scored-row.ts';

export const NLL = ofLabelled({
  id: 'nll',
  definition: ({ mean }) =>
    `-ln of the mean probability of the label, nats, not clamped; ${MEAN_DEFINITIONS[mean]}`,
  of: nll,
});

export function nll(rows: readonly LabelledRow[], rule: MeanRule = { mean: 'rows' }): number {
  return meanOver(
    rows.map(({ probs, label }) => -Math.log(probs[label] ?? 0)),
    rule,
  );
}
