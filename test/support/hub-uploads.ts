/**
 * The routes by which the stand-in hub takes files: small ones in the commit, large ones through
 * its store.
 */

import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface Commit {
  readonly repository: string;
  readonly summary: string;
  readonly files: ReadonlyMap<string, Buffer>;
}

/** Files of at least so many bytes go to the store. */
const LARGE_BYTES = 20_000;

export class Uploads {
  readonly commits: Commit[] = [];
  readonly created: unknown[] = [];
  /** By SHA-256. */
  readonly stored = new Map<string, Buffer>();
  /** Statuses that the next files get, whatever they are. */
  faults: number[] = [];
  readonly #token: string;

  constructor(token: string) {
    this.#token = token;
  }

  /** Answers a request that writes. @param exists whether there is such a repository */
  async answer(
    request: IncomingMessage,
    response: ServerResponse,
    { hub, store, exists }: { hub: string; store: string; exists: (name: string) => boolean },
  ): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const path = new URL(request.url ?? '', hub).pathname;
    const send = (status: number, value: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    if (request.headers.authorization !== `Bearer ${this.#token}`) {
      send(403, { error: 'You have read access, but not write access' });
      return;
    }
    if (path === '/api/repos/create') {
      this.created.push(JSON.parse(body.toString()));
      send(200, { url: hub });
      return;
    }
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(preupload|commit)\/main$/.exec(path);
    const lfs = /^\/([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/.exec(path);
    const name = api?.[1] ?? lfs?.[1] ?? '';
    const isThere = exists(name) || this.created.length > 0;
    if (!isThere) send(404, { error: 'Repository not found' });
    else if (lfs !== null) send(200, this.#batch(JSON.parse(body.toString()), store));
    else if (api?.[2] === 'preupload') send(200, preupload(JSON.parse(body.toString())));
    else if (api?.[2] === 'commit') send(200, this.#commit(name, body.toString()));
    else send(404, { error: 'no such route' });
  }

  /** Takes a file's bytes, by the address that the batch has given. */
  async put(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    const oid = (request.url ?? '').split('/').at(-1) ?? '';
    const isRight = createHash('sha256').update(bytes).digest('hex') === oid;
    const { 'x-signed': signed, authorization, 'content-length': length } = request.headers;
    // A store of objects takes nothing of unknown length.
    const isTaken =
      isRight && signed === 'yes' && authorization === undefined && length !== undefined;
    const fault = this.faults.shift();
    if (isTaken && fault === undefined) this.stored.set(oid, bytes);
    response.writeHead(fault ?? (isTaken ? 200 : 400)).end();
  }

  #batch({ objects }: { objects: { oid: string; size: number }[] }, store: string): object {
    return {
      objects: objects.map(({ oid, size }) => ({
        oid,
        size,
        ...(this.stored.has(oid)
          ? {}
          : {
              actions: { upload: { href: `${store}/lfs/${oid}`, header: { 'x-signed': 'yes' } } },
            }),
      })),
    };
  }

  #commit(repository: string, body: string): object {
    const lines = body
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { key: string; value: Record<string, string> });
    const files = lines.flatMap(({ key, value }): [string, Buffer][] => {
      const { path = '', content = '', oid = '' } = value;
      if (key === 'file') return [[path, Buffer.from(content, 'base64')]];
      return key === 'lfsFile' ? [[path, this.stored.get(oid) ?? Buffer.alloc(0)]] : [];
    });
    this.commits.push({
      repository,
      summary: lines[0]?.value.summary ?? '',
      files: new Map(files),
    });
    return { success: true, commitOid: createHash('sha1').update(body).digest('hex') };
  }
}

function preupload({ files }: { files: { path: string; size: number; sample: string }[] }): object {
  return {
    files: files.map(({ path, size }) => ({
      path,
      uploadMode: size >= LARGE_BYTES ? 'lfs' : 'regular',
    })),
  };
}
