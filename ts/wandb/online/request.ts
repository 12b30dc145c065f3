/**
 * Requests to W&B's server, repeated while there is hope.
 *
 * Repeated are: no answer within the time limit, a connection that fails, and status 408, 429 and
 * 5xx; the pause grows twofold from a half second to at most 20 seconds, by up to a quarter more so
 * that many runs do not come at once. Every request may be repeated: positions in files are
 * absolute, and a run is made under its own id.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { BpeftError } from '../../errors.ts';
import { proxiedFetch } from '../../http/proxied-fetch.ts';

/** Why the server's side of a run is given up; never holds a key. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

export interface RequestOptions {
  readonly method: 'POST' | 'PUT';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

export interface Patience {
  /** For one answer. */
  readonly timeoutMs: number;
  /** First pause between two tries. */
  readonly pauseMs: number;
  /** No try begins after this time of `performance.now()`. */
  readonly until: () => number;
  readonly signal: AbortSignal;
}

const LONGEST_PAUSE_MS = 20_000;
const REPEATED: ReadonlySet<number> = new Set([408, 429]);

/** @throws {Unreachable} the server refuses, or time is up */
export async function request(
  url: string,
  options: RequestOptions,
  patience: Patience,
): Promise<string> {
  const what = new URL(url).origin;
  for (let wait = patience.pauseMs; ; wait = Math.min(LONGEST_PAUSE_MS, 2 * wait)) {
    const failure = await attempt(url, options, patience);
    if ('text' in failure) return failure.text;
    if (failure.isFinal) throw new Unreachable(`${what} ${failure.reason}`);
    const length = wait * (1 + Math.random() / 4);
    if (patience.signal.aborted || performance.now() + length >= patience.until()) {
      throw new Unreachable(`${what} ${failure.reason}`);
    }
    await pause(length, undefined, { signal: patience.signal }).catch(() => undefined);
  }
}

type Attempt = { readonly text: string } | { readonly reason: string; readonly isFinal: boolean };

async function attempt(
  url: string,
  { method, headers, body }: RequestOptions,
  { timeoutMs, signal }: Patience,
): Promise<Attempt> {
  try {
    const limit = AbortSignal.any([AbortSignal.timeout(timeoutMs), signal]);
    const response = await proxiedFetch(url, { method, headers, body, signal: limit }, timeoutMs);
    const text = await response.text();
    if (response.ok) return { text };
    return { reason: refusal(response.status), isFinal: !isRepeated(response.status) };
  } catch (error) {
    if (error instanceof DOMException && error.name === 'TimeoutError') {
      return { reason: `did not answer within ${timeoutMs / 1000} s`, isFinal: false };
    }
    if (error instanceof BpeftError)
      return { reason: `cannot be reached: ${error.message}`, isFinal: true };
    // The cause names the system's error, such as ECONNREFUSED; the message is only "fetch failed".
    const { cause } = error as { cause?: { readonly code?: string; readonly message?: string } };
    const why = cause?.code ?? cause?.message;
    return { reason: `cannot be reached${why === undefined ? '' : ` (${why})`}`, isFinal: false };
  }
}

function isRepeated(status: number): boolean {
  return status >= 500 || REPEATED.has(status);
}

function refusal(status: number): string {
  if (status === 401 || status === 403) {
    return `refuses the API key (status ${status}): check WANDB_API_KEY and WANDB_ENTITY`;
  }
  return `answers with status ${status}`;
}
