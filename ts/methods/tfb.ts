/**
 * Training-free Bayesianization (TFB, arXiv 2412.05723): a trained adapter's B = U diag(d) Vᵀ gives
 * a Gaussian over VᵀA of σ = σq/d, and one number, σq, is searched for on anchor rows.
 *
 * ```text
 * ŷ = argmax p⁰ at σq = 0            L(σq) = −mean ln p(ŷ), p the mean softmax over N samples
 * nll: change = |L − L⁰| / L⁰        accuracy: change = share of rows whose argmax is not ŷ
 * ```
 *
 * Protocol `corrected` returns the largest σq whose change is within the tolerance, by bisection of
 * ln σq; all looks see the same noise, so that the change hardly wavers. `reference` repeats the
 * code of the paper: bisection of σq, 1e-12 in the logarithm, the change of the NLL divided by the
 * anchors once more, and the smallest σq that was *outside* of the tolerance, or the upper end.
 */

import { z } from 'zod';
import { count, type Facts, positive, type SettingsOf, setting } from '../config/setting.ts';
import { BpeftError } from '../errors.ts';
import type { Protocol } from '../protocol/data-protocol.ts';

const FACTS: Facts = {
  ...{ group: 'TFB', methods: ['tfb'] },
  ...{ decides: 'training', recorded: 'value', isInherited: false },
};

const ofTfb = <S extends z.ZodType>(what: string, schema: S) =>
  setting(what, { bayesianize: schema }, FACTS);

export const TFB_SETTINGS = {
  anchors: ofTfb('rows that the search looks at', count.default(500)),
  criterion: ofTfb(
    'what may change on the anchors: their NLL or their answers',
    z.enum(['nll', 'accuracy']).default('nll'),
  ),
  tolerance: ofTfb(
    'how much of it (default: 0.003 of the NLL, 0.01 of the answers)',
    positive.optional(),
  ),
  sigmaMin: ofTfb(
    'lower end of the search (default: 1e-5; in reference 0.001)',
    positive.optional(),
  ),
  sigmaMax: ofTfb('upper end of the search (default: 1; in reference 0.015)', positive.optional()),
  iterations: ofTfb(
    'bisections (default: 12; in reference 5)',
    z.int().nonnegative().max(60).optional(),
  ),
};

export type TfbSettings = SettingsOf<typeof TFB_SETTINGS, 'bayesianize'> & {
  readonly protocol: Protocol;
};

/** The search with its defaults, which depend on the protocol. */
export interface Search {
  readonly protocol: Protocol;
  readonly criterion: 'nll' | 'accuracy';
  readonly tolerance: number;
  readonly low: number;
  readonly high: number;
  readonly iterations: number;
}

/** @throws {BpeftError} `BPEFT_USAGE`: an interval without inside. */
export function searchOf(settings: TfbSettings): Search {
  const { protocol, criterion } = settings;
  const isReference = protocol === 'reference';
  const low = settings.sigmaMin ?? (isReference ? 0.001 : 1e-5);
  const high = settings.sigmaMax ?? (isReference ? 0.015 : 1);
  if (low >= high) {
    const message = `--sigma-min must be below --sigma-max, got ${low} and ${high}`;
    throw new BpeftError('BPEFT_USAGE', message, { hint: 'leave out one of them' });
  }
  return {
    protocol,
    criterion,
    tolerance: settings.tolerance ?? (criterion === 'nll' ? 0.003 : 0.01),
    low,
    high,
    iterations: settings.iterations ?? (isReference ? 5 : 12),
  };
}

/** One look at the anchors. */
export interface Look {
  readonly sigma: number;
  readonly change: number;
  readonly isWithin: boolean;
}

/**
 * σq.
 * @param measure the change at a σq
 * @throws {BpeftError} `BPEFT_USAGE`: in protocol `corrected`, not even the lower end is within the
 * tolerance.
 */
export async function searchSigma(
  search: Search,
  measure: (sigma: number) => Promise<number>,
  tell: (look: Look) => void,
): Promise<number> {
  const { protocol, criterion, tolerance, iterations } = search;
  let { low, high } = search;
  const lookAt = async (sigma: number): Promise<Look> => {
    const change = await measure(sigma);
    // Not ≤ of what may be NaN.
    const look = { sigma, change, isWithin: change <= tolerance };
    tell(look);
    return look;
  };
  if (protocol === 'reference') {
    for (let at = 0; at < iterations; at += 1) {
      const sigma = (low + high) / 2;
      if ((await lookAt(sigma)).isWithin) low = sigma;
      else high = sigma;
      if (criterion === 'accuracy' && high - low < 5e-4) break;
    }
    return high;
  }
  const least = await lookAt(low);
  if (!least.isWithin) {
    const by = Number(least.change.toPrecision(3));
    const message = `sigma ${low} changes the anchors by ${by} already, and ${tolerance} is the tolerance`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: 'raise --tolerance, lower --sigma-min, give --train-split rows that the adapter has not learned by heart, or --precision f32: rounded activations alone change answers',
    });
  }
  if ((await lookAt(high)).isWithin) return high;
  for (let at = 0; at < iterations; at += 1) {
    const sigma = Math.sqrt(low * high);
    if ((await lookAt(sigma)).isWithin) low = sigma;
    else high = sigma;
  }
  return low;
}

/** The change between the answers at σq = 0 and those at another, (rows × classes) each. */
export function changeOf(
  { protocol, criterion }: Pick<Search, 'protocol' | 'criterion'>,
  before: readonly Float64Array[],
  after: readonly Float64Array[],
): number {
  const answers = before.map(argmax);
  if (criterion === 'accuracy') {
    return after.filter((probs, row) => argmax(probs) !== answers[row]).length / before.length;
  }
  const added = protocol === 'reference' ? 1e-12 : 0;
  const nll = (rows: readonly Float64Array[]) =>
    rows.reduce((sum, probs, row) => sum - Math.log((probs[answers[row] ?? 0] ?? 0) + added), 0) /
    rows.length;
  const [own, changed] = [nll(before), nll(after)];
  const change = Math.abs(changed - own);
  // Answers of probability 1 have an NLL of 0, of which no part can be taken.
  const relative = change === 0 ? 0 : change / own;
  return protocol === 'reference' ? relative / before.length : relative;
}

function argmax(probs: Float64Array): number {
  return probs.reduce((best, value, index) => (value > (probs[best] ?? 0) ? index : best), 0);
}
