/** What makes a trained adapter Bayesian is given, and what it gives. */

import type { BayesianizeConfig } from '../../config/resolve.ts';
import type { Adapter } from '../../engine/adapter.ts';
import type { BayesianModel } from '../../engine/model.ts';
import type { Listener } from '../../events/sinks.ts';
import type { Look } from '../../methods/tfb.ts';
import type { Split } from '../inputs/splits.ts';
import type { AdapterRecord } from '../records/adapter-record.ts';

export interface Making {
  readonly config: BayesianizeConfig;
  readonly model: BayesianModel;
  readonly point: Adapter;
  /** Places that get a posterior, from the end; null = all. */
  readonly stochasticLayers: number | null;
  /** Of the rows that trained the adapter, unless another was asked for. */
  readonly split: Split;
  /** What the method asked to be held out. */
  readonly heldOut: Split | null;
  readonly emit: Listener;
  readonly signal: AbortSignal | undefined;
}

/** How the precision of a prior was chosen. */
export interface LaplaceResult {
  /** λ. */
  readonly precision: number;
  readonly chosenBy: 'evidence' | 'validation' | 'setting';
  /** ln Z, nats. */
  readonly logEvidence: number;
  /** Parameters that the rows determine. */
  readonly determined: number;
  readonly rows: number;
  /** Mean NLL of answers to held-out rows under that λ, nats; null: they did not choose it. */
  readonly heldOutNll: number | null;
}

export interface Search {
  /** σq. */
  readonly sigma: number;
  readonly anchors: number;
  readonly looks: readonly Look[];
}

/** Disposing of it frees the adapter. */
export interface Made extends AsyncDisposable {
  readonly adapter: Adapter;
  readonly record: Pick<AdapterRecord, 'search' | 'laplace'>;
  readonly search: Search | null;
  readonly laplace: LaplaceResult | null;
}

export interface Maker {
  /** @throws {BpeftError} `BPEFT_USAGE`, before anything is read. */
  check?(config: BayesianizeConfig): void;
  /**
   * The split of held-out rows that it asks for; null: none.
   * @param usual the dataset's own
   * @param trained the one that trained the adapter, if it is known
   */
  heldOut(config: BayesianizeConfig, usual: string, trained: string | undefined): string | null;
  /** Whether it asks what is right in every row. */
  readonly readsAnswers: boolean;
  make(making: Making): Promise<Made>;
}
