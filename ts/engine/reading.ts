/** How far a model's files are read, asked of the engine from time to time. */

import type { NativeReading } from './addon.d.ts';
import { type CallOptions, teller } from './call.ts';

const ASK_EVERY_MS = 100;

/** Tells while `work` goes on, and once it is done. */
export async function tellingOfReading<T>(
  reading: NativeReading,
  { onProgress }: CallOptions,
  work: Promise<T>,
): Promise<T> {
  const tell = teller(onProgress);
  const news = () => {
    const total = reading.total();
    if (total > 0) tell({ activity: 'reading', unit: 'tensors', done: reading.done(), total });
  };
  const asking = setInterval(news, ASK_EVERY_MS);
  try {
    const outcome = await work;
    news();
    return outcome;
  } finally {
    clearInterval(asking);
  }
}
