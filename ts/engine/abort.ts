/** From the platform's `AbortSignal` to the engine's flag, which work checks between layers. */

import { abortError, BpeftError, fromNative, throwIfAborted } from '../errors.ts';
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
  } catch (error) {
    throw error instanceof BpeftError && error.code === 'BPEFT_ABORTED'
      ? abortError(signal)
      : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Native work that goes on to its end, whose caller need not wait for it once `signal` fires.
 * @param discard gets what comes too late
 */
export async function unlessAborted<T>(
  signal: AbortSignal | undefined,
  work: Promise<T>,
  discard: (late: T) => Promise<void> | void = () => {},
): Promise<T> {
  if (signal === undefined) return work;
  let onAbort = () => {};
  const stopped = new Promise<never>((_, reject) => {
    onAbort = () => reject(abortError(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
  try {
    return await Promise.race([work, stopped]);
  } catch (error) {
    work.then(discard).catch(() => {}); // its caller has its error already
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Frees what the model's thread holds, unless it is gone with the model already. */
export async function freed(release: () => Promise<void>): Promise<void> {
  try {
    await native(release);
  } catch (error) {
    if (!(error instanceof BpeftError) || error.code !== 'BPEFT_WORKER_STOPPED') throw error;
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
