/** `fetch` by the proxies and within the times that the environment names. */

import { createRequire } from 'node:module';
import type { EnvHttpProxyAgent, RequestInit, Response } from 'undici';
import { BpeftError } from '../errors.ts';

/** Silence after which a connection counts as broken; `HF_HUB_DOWNLOAD_TIMEOUT` sets it in seconds. */
const SILENCE_S = 60;

/** Node 20's own `fetch` knows no proxies; undici's, of which it is a copy, does. */
type Client = typeof import('undici');

let agent: EnvHttpProxyAgent | undefined;

/** Not before it is asked for: it takes 50 ms. Not by `import()`, which would split a host's bundle in two. */
function undici(): Client {
  return createRequire(import.meta.url)('undici') as Client;
}

/** @throws {BpeftError} `BPEFT_USAGE`: a proxy is no address. Else what `fetch` throws. */
export async function send(url: string, init: RequestInit): Promise<Response> {
  const client = undici();
  agent ??= newAgent(client);
  return client.fetch(url, { ...init, dispatcher: agent });
}

function newAgent({ EnvHttpProxyAgent }: Client): EnvHttpProxyAgent {
  const seconds = Number(process.env.HF_HUB_DOWNLOAD_TIMEOUT);
  const silence = 1000 * (seconds > 0 ? seconds : SILENCE_S);
  return new EnvHttpProxyAgent({
    httpProxy: proxy('http_proxy'),
    httpsProxy: proxy('https_proxy'),
    noProxy: variable('no_proxy')?.[1] ?? '',
    headersTimeout: silence,
    bodyTimeout: silence,
    proxyTunnel: false, // what is not encrypted is asked of the proxy itself, as curl does
  });
}

/** As in curl, the lower-case name wins, and an empty one is not set. */
function variable(name: string): readonly [name: string, value: string] | null {
  for (const one of [name, name.toUpperCase()]) {
    const value = process.env[one];
    if (value) return [one, value];
  }
  return null;
}

function proxy(name: string): string {
  const [own, address] = variable(name) ?? [name, ''];
  if (address === '' || (/^https?:\/\//.test(address) && URL.canParse(address))) return address;
  const got = JSON.stringify(address.replace(/^.*@/, '…@'));
  throw new BpeftError('BPEFT_USAGE', `${own} must be the address of an http proxy, got ${got}`, {
    hint: 'write http://host:port; proxies of other kinds (SOCKS) are not known',
  });
}
