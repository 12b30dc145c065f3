/** A training that was stopped from outside: what it says, and that nothing of it is lost. */

import { BpeftError, type BpeftErrorCode } from '../../errors.ts';

/** Failures of an update that changed nothing: adapter and optimizers are those of the last one. */
const LEAVES_THE_STATE: ReadonlySet<BpeftErrorCode> = new Set<BpeftErrorCode>([
  'BPEFT_ABORTED',
  'BPEFT_DEVICE',
  'BPEFT_OUT_OF_MEMORY',
]);

/** Whether a checkpoint can be written after it. */
export function leavesTheState(error: unknown): error is BpeftError {
  return error instanceof BpeftError && LEAVES_THE_STATE.has(error.code);
}

/** The error of a run whose checkpoint is written. */
export function stoppedAfter(
  error: BpeftError,
  { step, steps }: { readonly step: number; readonly steps: number },
): BpeftError {
  if (error.code === 'BPEFT_ABORTED') {
    const done = `interrupted after step ${step} of ${steps}`;
    return new BpeftError('BPEFT_ABORTED', done, { hint: 'continue with --resume', cause: error });
  }
  const message = `${error.message} (the state after step ${step} is kept)`;
  const hint = `${error.hint ?? ''}; --resume goes on, on the CPU with --device cpu`;
  return new BpeftError(error.code, message, { hint, cause: error });
}
