/**
 * Maximum a posteriori: maximum likelihood under the prior N(0, `--prior-std`²) on A and B.
 * Protocol `reference` has what the reference calls MAP: decoupled weight decay 1e-5. At its rate
 * of 1e-4 an update would keep 1 − 1e-9, which in f32 is 1: there the reference's run is its MLE.
 * Here decay waits until f32 can hold it (crates/blob-core/src/optim/decay.rs).
 */

import type { Protocol } from '../protocol/data-protocol.ts';
import type { Method } from './method.ts';
import { MLE } from './mle.ts';

const REFERENCE_WEIGHT_DECAY = 1e-5;

interface MapSettings {
  readonly priorStd: number;
  readonly protocol: Protocol;
}

export const MAP: Method<MapSettings> = {
  ...MLE,
  id: 'map',
  engineOptions: ({ priorStd, protocol }, { rowsPerEpoch }, point) =>
    protocol === 'reference'
      ? { id: 'mle', point: { ...point, weightDecay: point.weightDecay || REFERENCE_WEIGHT_DECAY } }
      : { id: 'map', point, priorStd, rows: rowsPerEpoch },
  record: ({ priorStd, protocol }) => ({ prior_std: protocol === 'reference' ? null : priorStd }),
};
