/**
 * Requests to the Hub. What passes is tried again, at growing intervals or when the server says;
 * what does not is explained.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { Response } from 'undici';
import { BpeftError, throwIfAborted } from '../errors.ts';
import { packageVersion } from '../package-version.ts';
import type { Hub } from './environment.ts';
import { codeOf, pageAddress, type RepositoryId } from './repository.ts';
import { send } from './transport.ts';

export const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 250;
/** A server that wants a longer pause is not waited for. */
const LONGEST_PAUSE_MS = 60_000;

export interface RequestOptions {
  /** What the request is about, for its errors. */
  readonly id: RepositoryId;
  readonly headers?: Readonly<Record<string, string>>;
  /** GET without it. */
  readonly method?: 'POST' | 'PUT';
  /** Sent again with each attempt. */
  readonly body?: string | Blob;
  /** What a refusal means, where it is about more than reading; null: as usual. */
  readonly refused?: (status: number, said: string) => BpeftError | null;
  readonly signal?: AbortSignal | undefined;
}

/** The server cannot be reached, or fails; a cache may do instead. */
export class HubUnreachable extends BpeftError {
  constructor(hub: Hub, reason: string, cause?: unknown) {
    super('BPEFT_IO', `${hub.endpoint} cannot be reached: ${reason}`, {
      hint: 'run again to go on where it stopped; HF_HUB_OFFLINE=1 uses the cache alone, HF_ENDPOINT a mirror',
      cause,
    });
  }
}

/**
 * A good answer, whose body is still to be read.
 * @throws {BpeftError} `BPEFT_MODEL_NOT_FOUND`, `BPEFT_DATASET`: refused; {@link HubUnreachable}
 * after five attempts; `BPEFT_ABORTED`
 */
export async function request(hub: Hub, url: string, options: RequestOptions): Promise<Response> {
  const { id, signal, method = 'GET', body } = options;
  const isOurs = new URL(url).origin === new URL(hub.endpoint).origin;
  const headers = {
    'user-agent': `bpeft/${packageVersion()}`,
    'accept-encoding': 'identity', // a range counts the file's own bytes
    ...(hub.token !== null && isOurs ? { authorization: `Bearer ${hub.token}` } : {}),
    ...options.headers,
  };
  for (let attempt = 1; ; attempt += 1) {
    const answer = await send(url, {
      method,
      body: body ?? null,
      // A body that might have to follow a redirect is kept, whole, while it is sent.
      redirect: body instanceof Blob ? 'error' : 'follow',
      headers,
      signal: signal ?? null,
    }).catch((error: unknown) => {
      throwIfAborted(signal);
      if (error instanceof BpeftError) throw error;
      return error instanceof Error ? error : new Error(String(error));
    });
    let wait = backoff(attempt);
    let reason: string;
    if (!(answer instanceof Error)) {
      if (answer.ok) return answer;
      if (answer.status !== 429 && answer.status < 500) {
        const said = options.refused === undefined ? '' : await answer.text();
        if (options.refused === undefined) await answer.body?.cancel();
        throw options.refused?.(answer.status, said) ?? refusal(hub, id, answer);
      }
      await answer.body?.cancel();
      reason = `it answers ${answer.status}`;
      wait = retryAfter(answer.headers) ?? wait;
      if (wait > LONGEST_PAUSE_MS)
        throw new HubUnreachable(hub, `${reason}, to wait ${wait / 1000} s`);
    } else {
      reason = reasonOf(answer);
    }
    if (attempt === ATTEMPTS) throw new HubUnreachable(hub, reason, answer);
    await patience(wait, signal);
  }
}

/** Milliseconds before the next attempt. */
export function backoff(attempt: number): number {
  return FIRST_PAUSE_MS * 2 ** (attempt - 1);
}

export async function patience(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await pause(ms, undefined, signal === undefined ? {} : { signal }).catch(() =>
    throwIfAborted(signal),
  );
}

/** `fetch` hides what happened in its error's cause. */
export function reasonOf(error: unknown): string {
  const { cause, message } = error as {
    cause?: { message?: string; code?: string };
    message?: string;
  };
  return cause?.message || cause?.code || message || String(error);
}

/** Seconds, or a date (RFC 9110 §10.2.3) by the server's own clock, as milliseconds from now. */
function retryAfter(headers: Response['headers']): number | null {
  const text = headers.get('retry-after');
  if (text === null) return null;
  const now = Date.parse(headers.get('date') ?? '') || Date.now();
  const ms = /^\d+$/.test(text) ? 1000 * Number(text) : Date.parse(text) - now;
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}

function refusal(hub: Hub, id: RepositoryId, { status, headers, url }: Response): BpeftError {
  const { kind, repository, revision } = id;
  const page = pageAddress(hub, id);
  const code = headers.get('x-error-code');
  const said = headers.get('x-error-message');
  const isAnonymous = hub.token === null;
  const refused = (message: string, hint: string) => new BpeftError(codeOf(id), message, { hint });
  const isHub = url.startsWith(`${hub.endpoint}/`); // and not the store that it leads to
  if (code === 'GatedRepo' || (isHub && status === 403)) {
    return refused(
      `${kind} ${repository} is gated: its authors let in whom they know`,
      isAnonymous
        ? `accept its conditions at ${page}, then set HF_TOKEN or run hf auth login`
        : `accept its conditions at ${page} with the account of your token, or use a token that may read it`,
    );
  }
  if (code === 'RevisionNotFound') {
    return refused(
      `${kind} ${repository} has no revision ${JSON.stringify(revision)}`,
      `its branches, tags and commits are at ${page}/tree/main; without @revision it is main`,
    );
  }
  if (code === 'EntryNotFound')
    return refused(`${kind} ${repository}: ${said ?? 'no such file'}`, `see ${page}`);
  if (isHub && (status === 401 || status === 404)) {
    return refused(
      `${hub.endpoint} shows no ${kind} ${repository}: it does not exist, or is private`,
      isAnonymous
        ? `check the spelling; for a private ${kind} set HF_TOKEN or run hf auth login`
        : 'check the spelling, and that your token is valid and may read it',
    );
  }
  return refused(
    `${new URL(url).origin} refuses ${kind} ${repository}: ${said ?? status}`,
    `see ${page}`,
  );
}
