/** The run by the KL alone, without data: how far σ and the mean would go. */

import { native } from '../engine/abort.ts';
import { loadNative } from '../engine/native.ts';
import { BpeftError } from '../errors.ts';
import type { Accounting } from '../protocol/accounting.ts';
import type { KlCycle } from './engine-options.ts';

export interface KlPlan {
  /** Updates per cycle of the weight. */
  readonly cycle: number;
  readonly uniform: boolean;
  readonly pulses: number;
  readonly weightSum: number;
  readonly sigmaStart: number;
  readonly sigmaEnd: number;
  /** Factor that remains of the mean. */
  readonly shrinkEnd: number;
}

export interface KlSettings {
  readonly klLr: number;
  readonly priorStd: number;
  readonly klForm: 'exact' | 'reference';
  readonly sigma: 'square' | 'softplus' | 'exp';
  /** Mean σ of the adapter before the first update; null without a posterior. */
  readonly sigmaStart: number | null;
}

/** The engine's answer. JSON has no NaN and no infinity: they arrive as null. */
interface Forecast {
  readonly pulses: number | null;
  readonly weightSum: number | null;
  readonly sigmaStart: number | null;
  readonly sigmaEnd: number | null;
  readonly shrinkEnd: number | null;
}

/** @throws {BpeftError} `BPEFT_USAGE`: the KL leaves the range of numbers. */
export async function forecastKl(
  settings: KlSettings,
  klCycle: KlCycle,
  accounting: Accounting,
): Promise<KlPlan> {
  const { klLr, priorStd, klForm, sigma, sigmaStart: start } = settings;
  const { updates: steps, schedule } = accounting;
  const options = { steps, schedule, klLr, klCycle, priorStd, klForm, sigma, sigmaStart: start };
  const answer = await native(() => loadNative().forecastKl(JSON.stringify(options)));
  const { pulses, weightSum, sigmaStart, sigmaEnd, shrinkEnd } = JSON.parse(answer) as Forecast;
  if (sigmaStart === null || sigmaEnd === null || shrinkEnd === null) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `the KL alone leaves the numbers' range with --kl-lr ${klLr}, --prior-std ${priorStd}, from sigma ${start}`,
      { hint: 'lower --kl-lr, or use a larger --prior-std' },
    );
  }
  return {
    cycle: klCycle.length,
    uniform: klCycle.kind === 'uniform',
    pulses: pulses ?? 0,
    weightSum: weightSum ?? 0,
    sigmaStart,
    sigmaEnd,
    shrinkEnd,
  };
}

/**
 * A cycle longer than a third of the run gives the KL almost no pulse: σ stays at its start, and
 * the posterior is a point. Null: the KL acts.
 */
export function klNeverActs(kl: KlPlan | null, steps: number): string | null {
  if (kl === null || kl.uniform || kl.cycle === 1 || kl.cycle <= steps / 3) return null;
  const shorter = Math.max(1, Math.round(steps / 10));
  return `the KL hardly acts: a cycle of ${kl.cycle} updates in a run of ${steps} gives ${kl.pulses} pulses; give --kl-cycle ${shorter} or train longer`;
}
