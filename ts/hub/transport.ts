/** `fetch` by proxies, and within the time that the environment gives the Hub. */

import type { RequestInit, Response } from 'undici';
import { proxiedFetch } from '../http/proxied-fetch.ts';

/**
 * Silence after which a connection counts as broken; `HF_HUB_DOWNLOAD_TIMEOUT` sets it in seconds.
 */
const SILENCE_S = 60;

/** @throws {BpeftError} `BPEFT_USAGE`: a proxy is no address. Else what `fetch` throws. */
export function send(url: string, init: RequestInit): Promise<Response> {
  const seconds = Number(process.env.HF_HUB_DOWNLOAD_TIMEOUT);
  return proxiedFetch(url, init, 1000 * (seconds > 0 ? seconds : SILENCE_S));
}
