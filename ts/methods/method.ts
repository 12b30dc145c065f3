/**
 * The TypeScript side of a method: its settings, and what they ask of the engine.
 *
 * A method is one file that exports one {@link Method}; `registry.ts` lists them. Nothing else asks
 * which method a run has: it asks the method.
 */

import type { AdapterOptions } from '../engine/model.ts';
import type { MethodOptions, PointOptions } from '../engine/trainer.ts';
import type { Accounting } from '../protocol/accounting.ts';
import type { KlPlan } from './kl-plan.ts';

/** @typeParam Settings what the method reads of a run's settings, resolved */
export interface Method<Settings> {
  readonly id: string;
  /** Whether its adapters have a posterior to sample from; a point has one prediction. */
  readonly hasPosterior: boolean;
  /** What a fresh adapter starts from; null: a point. */
  posterior(settings: Settings): AdapterOptions['posterior'];
  /** The method's part of what a trainer is made with: all that the engine is told about it. */
  engineOptions(settings: Settings, accounting: Accounting, point: PointOptions): MethodOptions;
  /** What its KL would do alone over the run; null where there is none. */
  klPlan(settings: Settings, accounting: Accounting): Promise<KlPlan | null>;
  /** What `bpeft.json` says about the posterior. */
  record(settings: Settings): { readonly prior_std: number | null };
}
