/**
 * Maximum a posteriori: maximum likelihood under the prior N(0, `--prior-std`²) on A and B.
 * Protocol `reference` has what the reference calls MAP: decoupled weight decay 1e-5. At its rate
 * of 1e-4 an update would keep 1 − 1e-9, which in f32 is 1: there the reference's run is its MLE.
 * Here decay waits until f32 can hold it (crates/blob-core/src/optim/decay.rs).
 */

import { BpeftError } from '../errors.ts';
import type { Protocol } from '../protocol/data-protocol.ts';
import { BLOB_SETTINGS } from './blob.ts';
import type { Method } from './method.ts';
import { MLE } from './mle.ts';

/** Of protocol `reference`. */
const WEIGHT_DECAY = 1e-5;
const PRIOR_STD = BLOB_SETTINGS.priorStd.in.train.parse(undefined);

interface MapSettings {
  readonly priorStd: number;
  readonly protocol: Protocol;
}

export const MAP: Method<MapSettings> = {
  ...MLE,
  id: 'map',
  check: ({ priorStd, protocol }) => {
    if (protocol !== 'reference' || priorStd === PRIOR_STD) return;
    const message = `--prior-std is of MAP in protocol corrected, got ${priorStd} in reference`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: 'leave it out, or give --weight-decay: the reference decays weights instead',
    });
  },
  weightDecay: (protocol) => (protocol === 'reference' ? WEIGHT_DECAY : 0),
  engineOptions: ({ priorStd, protocol }, { rowsPerEpoch }, point) =>
    protocol === 'reference'
      ? { id: 'mle', point }
      : { id: 'map', point, priorStd, rows: rowsPerEpoch },
  record: ({ priorStd, protocol }) => ({ prior_std: protocol === 'reference' ? null : priorStd }),
};
