/**
 * The TypeScript side of a method: its settings, and what they ask of the engine.
 *
 * A method is one file that exports one {@link Method}; `registry.ts` lists them. Nothing else asks
 * which method a run has: it asks the method.
 */

import type { AdapterInfo, AdapterOptions } from '../engine/adapter.ts';
import type { Average } from '../metrics/predictive.ts';
import type { Accounting } from '../protocol/accounting.ts';
import type { Protocol } from '../protocol/data-protocol.ts';
import type { MethodOptions, PointOptions } from './engine-options.ts';
import type { KlPlan } from './kl-plan.ts';

/** How answers are drawn from an adapter. */
export interface PredictiveRule {
  /** Probability with which a sample drops an input of a low-rank term. */
  readonly dropout: number;
  /** How the samples, or the members of an ensemble, become one answer. */
  readonly average: Average;
  /** What shares one sign of a posterior's noise. */
  readonly noise: NoiseSharing;
  /** How an adapter with a curvature makes probabilities of its logits' Gaussian. */
  readonly link?: Link | undefined;
}

/** In closed form by the probit approximation or the Laplace bridge, or by samples. */
export type Link = 'probit' | 'bridge' | 'sample';

export type NoiseSharing = 'token' | 'example' | 'shared';

/** What a run's settings say about its answers. */
export interface Asked {
  readonly protocol: Protocol;
  readonly noise: NoiseSharing;
  readonly link?: Link | undefined;
}

/** @typeParam Settings what the method reads of a run's settings, resolved */
export interface Method<Settings> {
  readonly id: string;
  /** Whether its adapters have a posterior to sample from; a point has one prediction. */
  readonly hasPosterior: boolean;
  /** @throws {BpeftError} `BPEFT_USAGE`: settings with which the method has no meaning. */
  check?(settings: Settings): void;
  /** Decoupled weight decay where none was asked for; 0 unless given. */
  weightDecay?(protocol: Protocol): number;
  /** What a fresh adapter is. */
  adapter(settings: Settings): Pick<AdapterOptions, 'posterior' | 'members'>;
  /** All that the engine is told about the method. */
  engineOptions(settings: Settings, accounting: Accounting, point: PointOptions): MethodOptions;
  predictive(adapter: AdapterInfo, asked: Asked): PredictiveRule;
  /**
   * What its KL would do alone over the run, from where the adapter stands; null where there is
   * none.
   */
  klPlan(settings: Settings, accounting: Accounting, adapter: AdapterInfo): Promise<KlPlan | null>;
  /** What `bpeft.json` says about the posterior. */
  record(settings: Settings): { readonly prior_std: number | null };
}
