/**
 * A run's events as rows of a W&B history, under the keys of the reference implementation.
 *
 * ```text
 * each update       train_acc (percent), train_nll_loss, lr;
 *                   with a posterior kl_loss = π·KL, elbo_loss = NLL + KL, pi = π
 * each evaluation   val_acc (fraction), val_ece, val_nll, val_brier, std;
 *                   val_flip_ratio, where mean and samples were both evaluated
 * the last one      also final_val_acc, final_val_ece, final_val_nll, final_val_brier
 * ```
 *
 * A training value is that of one update; the reference's is a running mean within the epoch. `lr`
 * is the rate that the update took; the reference logs the next one. Ours beside them: `step`
 * (updates done), `kl` (before its weight), `kl_lr`, `sigma/mean`, `grad_norm`, `tokens_per_s`,
 * `step_ms`, `val_mcc`, `val_f1`, `val_macro_f1`, and for further evaluations of one run
 * `<dataset>-<split>-n<samples>/val_acc` and so on: the first one has the bare names. With each
 * round of evaluations a row of `sigma/<layer>/q05`, `q50`, `q95`. With a temperature:
 * `val_temperature`, `val_scaled_acc` and so on.
 */

import type { EvaluationDone, PosteriorSpread, StepDone } from '../events/run-event.ts';
import type { ScaledResult } from '../run/records/result.ts';
import type { Row } from './row.ts';

export function stepRow(event: StepDone): Row {
  const posterior =
    event.kl === null || event.klWeight === null
      ? {}
      : {
          kl_loss: event.klWeight * event.kl,
          elbo_loss: event.nll + event.kl,
          pi: event.klWeight,
          kl: event.kl,
          kl_lr: event.klLr,
          'sigma/mean': event.sigmaMean,
        };
  return {
    train_acc: 100 * event.accuracy,
    train_nll_loss: event.nll,
    lr: event.lr,
    ...posterior,
    step: event.step,
    grad_norm: event.gradNorm,
    tokens_per_s: event.ms > 0 ? (1000 * event.tokens) / event.ms : null,
    step_ms: event.ms,
  };
}

/** `sigma/<layer>/q05` and so on. */
export function posteriorRow({ step, fractions, layers }: PosteriorSpread): Row {
  const values = layers.flatMap(({ name, values: quantiles }) =>
    fractions.map((fraction, index): [string, unknown] => [
      `sigma/${name}/${quantileName(fraction)}`,
      quantiles[index],
    ]),
  );
  return { ...Object.fromEntries(values), step };
}

/** `q05` */
export function quantileName(fraction: number): string {
  return `q${String(Math.round(100 * fraction)).padStart(2, '0')}`;
}

export type EvaluationKey = `${string}-${string}-n${number}`;

export function evaluationKey({ result }: EvaluationDone): EvaluationKey {
  return `${result.dataset}-${result.split}-n${result.samples}`;
}

/** Bare on the first evaluated split, whichever of its two evaluations it comes with. */
function flipKey({ result: { dataset, split } }: EvaluationDone, first: EvaluationKey): string {
  const key = `${dataset}-${split}`;
  return first.startsWith(`${key}-n`) ? 'val_flip_ratio' : `${key}/val_flip_ratio`;
}

/** `first` is the key of the run's first evaluation, which has the bare names. */
export function evaluationRow(event: EvaluationDone, first: EvaluationKey): Row {
  const key = evaluationKey(event);
  const prefix = key === first ? '' : `${key}/`;
  const { acc, ece, nll, brier, mcc, f1, macroF1, entropy, mutualInformation } =
    event.result.metrics;
  const named = (
    group: string,
    scores: Readonly<Record<string, unknown>> = { acc, ece, nll, brier },
  ) =>
    Object.entries(scores).map(([name, value]): [string, unknown] => [
      `${prefix}${group}_${name}`,
      value,
    ]);
  const { scaled } = event.result;
  const scaledValues = ({ temperature, metrics: under }: ScaledResult) => [
    ...named('val', { temperature }),
    ...named('val_scaled', { acc: under.acc, ece: under.ece, nll: under.nll, brier: under.brier }),
  ];
  const values: [string, unknown][] = [
    ...named('val'),
    ...(event.isFinal ? named('final_val') : []),
    [`${prefix}val_mcc`, mcc],
    [`${prefix}val_f1`, f1],
    [`${prefix}val_macro_f1`, macroF1],
    [`${prefix}val_entropy`, entropy],
    [`${prefix}val_mutual_information`, mutualInformation],
    [`${prefix}std`, event.result.std],
    [flipKey(event, first), event.result.flipRatio],
    ...(scaled === null ? [] : scaledValues(scaled)),
  ];
  return {
    ...Object.fromEntries(values.filter(([, value]) => value !== null)),
    ...(event.step === null ? {} : { step: event.step }),
  };
}
