/** From a stream to batches, without waiting for more than has come. */

import { abortError, throwIfAborted } from '../../errors.ts';

/**
 * What has come of `source`, in order, at most `size` at once: a row that comes alone is not kept
 * waiting for others. At most `size` are read ahead.
 *
 * @param abandon told when nobody reads on although the source has not ended
 * @throws what the source throws, after all that came before; {@link abortError} at once, even
 *   while the source keeps it waiting
 */
export async function* available<T>(
  source: AsyncIterable<T>,
  size: number,
  signal: AbortSignal | undefined,
  abandon: () => void,
): AsyncGenerator<T[], void, undefined> {
  const queue: T[] = [];
  let end: { failed: false } | { failed: true; error: unknown } | null = null;
  let isLeft = false;
  let wakeReader = () => {};
  let wakeSource = () => {};
  const read = async () => {
    try {
      for await (const item of source) {
        queue.push(item);
        wakeReader();
        if (queue.length >= size) await new Promise<void>((resolve) => (wakeSource = resolve));
        if (isLeft) return;
      }
      end = { failed: false };
    } catch (error) {
      end = { failed: true, error };
    }
    wakeReader();
  };
  const onAbort = () => wakeReader();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    throwIfAborted(signal);
    void read();
    for (;;) {
      if (signal?.aborted === true) throw abortError(signal);
      if (queue.length > 0) {
        const items = queue.splice(0, size);
        wakeSource();
        yield items;
      } else if (end !== null) {
        const { failed, error } = end as { failed: boolean; error?: unknown };
        if (failed) throw error;
        return;
      } else {
        await new Promise<void>((resolve) => (wakeReader = resolve));
      }
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    isLeft = true;
    wakeSource();
    if (end === null) abandon();
  }
}
