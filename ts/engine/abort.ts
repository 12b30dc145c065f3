/** From the platform's `AbortSignal` to the engine's flag, which work checks between layers. */

import { BpeftError, fromNative } from '../errors.ts';
import type { NativeAbort } from './addon.d.ts';
import { loadNative } from './native.ts';

/**
 * Runs native work that `signal` can stop.
 * @throws {BpeftError} `BPEFT_ABORTED`, or the work's own error.
 */
export async function abortable<T>(
  signal: AbortSignal | undefined,
  work: (abort: NativeAbort | null) => Promise<T>,
): Promise<T> {
  throwIfAborted(signal);
  if (signal === undefined) return native(() => work(null));
  const abort = new (loadNative().NativeAbort)();
  const onAbort = () => abort.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await native(() => work(abort));
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Native work that nothing stops; its rejection becomes a `BpeftError`. */
export async function native<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw fromNative(error);
  }
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new BpeftError('BPEFT_ABORTED', 'aborted', { cause: signal.reason });
}
