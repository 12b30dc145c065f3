/** An update of a session: this process's part of it, and whether all processes still agree. */

import { readBatches } from '../../batches/data-loader.ts';
import { shareOf } from '../../batches/share.ts';
import type { CallOptions } from '../../engine/call.ts';
import type { StepReport } from '../../engine/trainer.ts';
import { throwIfAborted } from '../../errors.ts';
import { tellingWhatFits } from './full-memory.ts';
import type { Session } from './session.ts';

/** Updates between two looks whether all processes have the same parameters. */
const COMPARED_EVERY = 100;

/** The next update of the order; with other processes all make it, or none does. */
export async function nextUpdate(
  session: Session,
  call: Pick<CallOptions, 'signal'>,
): Promise<{ readonly report: StepReport; readonly ms: number }> {
  const { order, train, trainer, adapter, division } = session;
  throwIfAborted(call.signal);
  const { batches, rows } = shareOf(order.next(), adapter.info.members, division);
  const read = await readBatches(train.encoded.examples, batches);
  const start = performance.now();
  const update =
    division.size === 1 ? trainer.step(read, call) : trainer.stepOfShare(read, rows, call);
  const report = await tellingWhatFits(update, session);
  return { report, ms: performance.now() - start };
}

/**
 * Looks whether the processes have the same parameters, now and then and before each checkpoint.
 * @throws {BpeftError} `BPEFT_RANKS`: one has others.
 */
export async function compareRanks(
  { config, division, plan, trainer }: Session,
  step: number,
  { signal }: Pick<CallOptions, 'signal'>,
): Promise<void> {
  if (division.size === 1) return;
  const isDue = [COMPARED_EVERY, config.checkpointEvery].some(
    (every) => every > 0 && step % every === 0,
  );
  if (isDue || step === plan.steps) await trainer.compareParameters({ signal });
}
