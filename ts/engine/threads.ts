/**
 * How many threads a model gets: the caller's number, else `BPEFT_NUM_THREADS`, else one per core.
 */

import { BpeftError } from '../errors.ts';

/** More would only fight for the processors; a system starves long before. */
export const MAX_THREADS = 1024;

/**
 * @returns undefined: one per core
 * @throws {BpeftError} `BPEFT_USAGE`: no whole number from 1 to {@link MAX_THREADS}.
 */
export function threadCount(asked: number | undefined): number | undefined {
  const text = process.env.BPEFT_NUM_THREADS;
  if (asked === undefined && (text === undefined || text === '')) return undefined;
  const threads = asked ?? Number(text);
  if (Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS) return threads;
  const [what, got] =
    asked === undefined ? ['BPEFT_NUM_THREADS', JSON.stringify(text)] : ['threads', asked];
  throw new BpeftError(
    'BPEFT_USAGE',
    `${what} must be a whole number from 1 to ${MAX_THREADS}, got ${got}`,
  );
}
