/** `fetch` by the proxies that the environment names (docs/adr/0028). */

import { createRequire } from 'node:module';
import type { EnvHttpProxyAgent, RequestInit, Response } from 'undici';
import { BpeftError } from '../errors.ts';

/** Node 20's own `fetch` knows no proxies; undici's, of which it is a copy, does. */
type Client = typeof import('undici');

/**
 * Not before it is asked for: it takes 50 ms. Not by `import()`, which would split a host's bundle
 * in two.
 */
function undici(): Client {
  return createRequire(import.meta.url)('undici') as Client;
}

/** By the silence after which they give a connection up. */
const agents = new Map<number, EnvHttpProxyAgent>();

/**
 * @param silenceMs without a byte for so long, a connection counts as broken
 * @throws {BpeftError} `BPEFT_USAGE`: a proxy is no address. Else what `fetch` throws.
 */
export async function proxiedFetch(
  url: string,
  init: RequestInit,
  silenceMs: number,
): Promise<Response> {
  const client = undici();
  let agent = agents.get(silenceMs);
  if (agent === undefined) {
    agent = newAgent(client, silenceMs);
    agents.set(silenceMs, agent);
  }
  return client.fetch(url, { ...init, dispatcher: agent });
}

function newAgent({ EnvHttpProxyAgent }: Client, silenceMs: number): EnvHttpProxyAgent {
  return new EnvHttpProxyAgent({
    httpProxy: proxy('http_proxy'),
    httpsProxy: proxy('https_proxy'),
    noProxy: variable('no_proxy')?.[1] ?? '',
    headersTimeout: silenceMs,
    bodyTimeout: silenceMs,
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
