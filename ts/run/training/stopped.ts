/** A training that was stopped from outside: what it says, and what of it is kept. */

import { BpeftError, type BpeftErrorCode } from '../../errors.ts';
import type { Session } from './session.ts';

/** Failures of an update that changed nothing: adapter and optimizers are those of the last one. */
const LEAVES_THE_STATE: ReadonlySet<BpeftErrorCode> = new Set<BpeftErrorCode>([
  'BPEFT_ABORTED',
  'BPEFT_DEVICE',
  'BPEFT_OUT_OF_MEMORY',
  'BPEFT_RANK_LOST',
]);

/** What a run has of its updates. */
export interface Kept {
  /** How many it made. */
  readonly trained: number;
  /** The step of the last checkpoint. */
  readonly saved: () => number | null;
  /** Writes one more. */
  readonly save: () => Promise<void>;
}

/**
 * The error of a run that `error` stopped; what is trained until then is kept, unless the training
 * itself went wrong.
 */
export async function stopped(error: unknown, session: Session, kept: Kept): Promise<unknown> {
  if (!leavesTheState(error)) return error;
  let step: number | null = kept.trained;
  try {
    await kept.save();
  } catch (failure) {
    // A GPU that is lost takes what was trained there since the last checkpoint.
    if (!isOfDevice(failure)) throw failure;
    step = kept.saved();
  }
  return stoppedAfter(error, { step, steps: session.plan.steps });
}

/** Whether a checkpoint can be written after it. */
function leavesTheState(error: unknown): error is BpeftError {
  return error instanceof BpeftError && LEAVES_THE_STATE.has(error.code);
}

/** Whether a GPU cannot be used further. */
function isOfDevice(error: unknown): boolean {
  return error instanceof BpeftError && error.code === 'BPEFT_DEVICE';
}

/** The error of a run whose last checkpoint is that of `step`; null: there is none. */
function stoppedAfter(
  error: BpeftError,
  { step, steps }: { readonly step: number | null; readonly steps: number },
): BpeftError {
  if (step === null) {
    const hint = `${error.hint ?? ''}; --checkpoint-every keeps what is trained on a GPU`;
    return new BpeftError(error.code, `${error.message} (nothing was saved before)`, {
      hint,
      cause: error,
    });
  }
  if (error.code === 'BPEFT_ABORTED') {
    const done = `interrupted after step ${step} of ${steps}`;
    return new BpeftError('BPEFT_ABORTED', done, { hint: 'continue with --resume', cause: error });
  }
  const message = `${error.message} (the state after step ${step} is kept)`;
  if (error.code === 'BPEFT_RANK_LOST')
    return new BpeftError(error.code, message, { hint: error.hint, cause: error });
  const hint = `${error.hint ?? ''}; --resume goes on, on the CPU with --device cpu`;
  return new BpeftError(error.code, message, { hint, cause: error });
}
