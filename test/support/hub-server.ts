/**
 * A stand-in for the Hub on loopback: repositories of models and datasets over the real routes, and
 * a store of its own address to which files in LFS are redirected. It fails as it is told.
 */

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Uploads } from './hub-uploads.ts';

/** What happens to a request for a file's bytes. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: string }
  /**
   * After so many bytes of the body the connection breaks, the body ends, or nothing more comes.
   */
  | { readonly kind: 'cut' | 'short' | 'stall'; readonly after: number }
  /** One bit of the body is another. */
  | { readonly kind: 'corrupt' }
  /** The range is not heard. */
  | { readonly kind: 'whole' };

/** A branch of a repository. */
export interface Repository {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly commit: string;
  readonly access: 'open' | 'gated' | 'private';
}

export interface Request {
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** The token that opens every repository. */
export const TOKEN = 'hf_standin';
/** The branch of what the Hub has made of a dataset. */
export const CONVERTED = 'refs/convert/parquet';
/** Files of at least this size are in LFS. */
const LFS_BYTES = 20_000;

export class StandInHub {
  /** `models/org/name` or `datasets/org/name` → branches. */
  readonly #repositories = new Map<string, Map<string, Repository>>();
  /** Every state that a branch was ever in. */
  readonly #commits = new Map<string, Repository>();
  /** Old name → new name. */
  readonly renamed = new Map<string, string>();
  readonly uploads = new Uploads(TOKEN);
  readonly requests: Request[] = [];
  /** Requests that the store got. */
  readonly stored: Request[] = [];
  /** Of the next requests for a file's bytes, first to last; then all are good. */
  faults: Fault[] = [];
  /** Path → the size that is listed in place of the true one. */
  readonly claims = new Map<string, number>();
  /** Of the next requests of any other kind. */
  apiFaults: Fault[] = [];
  readonly #hub: Server;
  readonly #store: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer(request, response));
    this.#store = createServer((request, response) => {
      this.stored.push(seen(request));
      if (request.method === 'PUT') {
        void this.uploads.put(request, response);
        return;
      }
      const [, commit = '', ...path] = decodeURIComponent(request.url ?? '').split('/');
      const repository = this.#commits.get(commit);
      this.#send(request, response, repository?.files.get(path.join('/')) ?? Buffer.alloc(0), {});
    });
  }

  static async start(): Promise<StandInHub> {
    const hub = new StandInHub();
    for (const server of [hub.#hub, hub.#store]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    return hub;
  }

  get url(): string {
    return address(this.#hub);
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#store]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  /** Puts a model's new state in the place of the old one; the commit follows from its content. */
  publish(name: string, files: Files, access: Repository['access'] = 'open'): Repository {
    return this.#publish(`models/${name}`, 'main', files, access);
  }

  /** The same for a branch of a dataset. */
  publishDataset(
    name: string,
    files: Files,
    { branch = 'main', access = 'open' }: { branch?: string; access?: Repository['access'] } = {},
  ): Repository {
    return this.#publish(`datasets/${name}`, branch, files, access);
  }

  #publish(name: string, branch: string, files: Files, access: Repository['access']): Repository {
    const content = new Map(
      Object.entries(files).map(([path, bytes]) => [path, Buffer.from(bytes)]),
    );
    const list = [...content].map(([path, bytes]) => `${gitHash(bytes)} ${path}`).join('\n');
    const commit = createHash('sha1').update(`${name}\n${list}`).digest('hex');
    const repository = { files: content, commit, access };
    this.#commits.set(commit, repository);
    const branches = this.#repositories.get(name) ?? new Map<string, Repository>();
    this.#repositories.set(name, branches.set(branch, repository));
    return repository;
  }

  /** Names of the files whose bytes were asked for. */
  get downloads(): string[] {
    const paths = this.requests.map(({ path }) => /\/resolve\/[^/]+\/(.*)$/.exec(path)?.[1]);
    return paths.filter((path) => path !== undefined);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(seen(request));
    const url = new URL(request.url ?? '', this.url);
    if (request.headers.host?.startsWith('datasets-server.') === true) {
      this.#parquetList(response, url.searchParams.get('dataset') ?? '');
      return;
    }
    if (request.method === 'POST' && !url.pathname.includes('/paths-info/')) {
      const exists = (name: string) => this.#repositories.has(`models/${name}`);
      const [hub, store] = [this.url, address(this.#store)];
      void this.uploads.answer(request, response, { hub, store, exists });
      return;
    }
    const api =
      /^\/api\/(models|datasets)\/([^/]+\/[^/]+)(?:\/(revision|tree|paths-info)\/([^/]+)(?:\/(.*))?)?$/.exec(
        url.pathname,
      );
    const file = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    const kind = api?.[1] ?? (file?.[1] === undefined ? 'models' : 'datasets');
    const asked = api?.[2] ?? file?.[2] ?? '';
    const name = this.renamed.get(asked) ?? asked;
    if (name !== asked) {
      response
        .writeHead(307, { location: `${url.pathname.replace(asked, name)}${url.search}` })
        .end();
      return;
    }
    const isKnown = request.headers.authorization === `Bearer ${TOKEN}`;
    const branches = this.#repositories.get(`${kind}/${name}`);
    const revision = decodeURIComponent(api?.[4] ?? file?.[3] ?? 'main');
    const repository =
      branches?.get(revision === 'refs/pr/1' ? 'main' : revision) ?? this.#commits.get(revision);
    const [first] = branches?.values() ?? [];
    if (first === undefined || (first.access === 'private' && !isKnown)) {
      refuse(response, isKnown ? 404 : 401, 'RepoNotFound', 'Repository not found');
      return;
    }
    if (repository === undefined) {
      refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    } else if (api !== null) {
      const fault = this.apiFaults.shift();
      if (fault?.kind === 'status') fail(response, fault);
      else if (api[3] === 'tree')
        this.#tree(response, url, repository, decodeURIComponent(api[5] ?? ''));
      else if (api[3] === 'paths-info') void this.#paths(request, response, repository);
      else
        json(response, {
          _id: '1',
          id: name,
          sha: repository.commit,
          siblings: siblings(repository),
        });
    } else if (repository.access === 'gated' && !isKnown) {
      refuse(response, 401, 'GatedRepo', `Access to ${kind} ${name} is restricted`);
    } else {
      this.#resolve(request, response, repository, decodeURIComponent(file?.[4] ?? ''));
    }
  }

  /** What the Hub has made of a dataset, as its service `datasets-server` lists it. */
  #parquetList(response: ServerResponse, dataset: string): void {
    const branches = this.#repositories.get(`datasets/${dataset}`);
    const converted = branches?.get(CONVERTED);
    const main = branches?.get('main');
    if (converted === undefined || main === undefined) {
      response.writeHead(404).end('{"error":"The dataset does not exist."}');
      return;
    }
    const files = [...converted.files].map(([path, bytes]) => {
      const [config = '', split = '', filename = ''] = path.split('/');
      const url = `${this.url}/datasets/${dataset}/resolve/${encodeURIComponent(CONVERTED)}/${path}`;
      return { dataset, config, split, url, filename, size: bytes.length };
    });
    response.setHeader('x-revision', main.commit);
    json(response, { parquet_files: files, partial: false, pending: [], failed: [] });
  }

  /** Two entries to a page. */
  #tree(response: ServerResponse, url: URL, repository: Repository, folder: string): void {
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const prefix = folder === '' ? '' : `${folder}/`;
    const isDeep = url.searchParams.get('recursive') === 'true';
    const inside = [...repository.files.keys()].filter((path) => path.startsWith(prefix));
    const names = inside.map((path) => {
      const end = isDeep ? -1 : path.indexOf('/', prefix.length);
      return end < 0 ? path : path.slice(0, end);
    });
    const entries = this.#entries(repository, [...new Set(names)]);
    if (from + 2 < entries.length) {
      url.searchParams.set('cursor', String(from + 2));
      response.setHeader('link', `<${url.href}>; rel="next"`);
    }
    json(response, entries.slice(from, from + 2));
  }

  /** What stands at some paths; nothing of what does not. */
  async #paths(
    request: IncomingMessage,
    response: ServerResponse,
    repository: Repository,
  ): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const isJson = request.headers['content-type']?.includes('json') === true;
    const paths = isJson ? JSON.parse(text).paths : new URLSearchParams(text).getAll('paths');
    json(response, this.#entries(repository, [paths].flat()));
  }

  #entries({ files }: Repository, paths: readonly string[]): object[] {
    return paths.flatMap((path) => {
      const bytes = files.get(path);
      if (bytes !== undefined)
        return [{ type: 'file', path, ...entry(bytes, this.claims.get(path)) }];
      const isFolder = [...files.keys()].some((name) => name.startsWith(`${path}/`));
      return isFolder
        ? [{ type: 'directory', path, size: 0, oid: gitHash(Buffer.from(path)) }]
        : [];
    });
  }

  #resolve(
    request: IncomingMessage,
    response: ServerResponse,
    { files, commit }: Repository,
    path: string,
  ): void {
    const bytes = files.get(path);
    if (bytes === undefined) {
      refuse(response, 404, 'EntryNotFound', 'Entry not found');
      return;
    }
    const { oid, lfs, xetHash } = entry(bytes);
    const headers = { 'x-repo-commit': commit, 'accept-ranges': 'bytes' };
    if (lfs === undefined) {
      this.#send(request, response, bytes, { ...headers, etag: `"${oid}"` });
      return;
    }
    const linked = { 'x-linked-etag': `"${lfs.oid}"`, 'x-linked-size': String(lfs.size) };
    // For clients of Xet; the same bytes are at `location`.
    const xet = {
      'x-xet-hash': xetHash,
      link: `<${this.url}/api/models/a/b/xet-read-token/${commit}>; rel="xet-auth"`,
    };
    const location = `${address(this.#store)}/${commit}/${path}`;
    response.writeHead(302, { ...headers, ...linked, ...xet, etag: `"${oid}"`, location }).end();
  }

  #send(
    request: IncomingMessage,
    response: ServerResponse,
    bytes: Buffer,
    headers: Readonly<Record<string, string>>,
  ): void {
    const fault = request.method === 'HEAD' ? undefined : this.faults.shift();
    if (fault?.kind === 'status') {
      fail(response, fault);
      return;
    }
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const isPart = range !== null && fault?.kind !== 'whole';
    const start = isPart ? Number(range[1]) : 0;
    const body = Buffer.from(
      bytes.subarray(start, isPart && range[2] ? Number(range[2]) + 1 : undefined),
    );
    if (fault?.kind === 'corrupt') body[0] = (body[0] ?? 0) ^ 1;
    const place = { 'content-range': `bytes ${start}-${start + body.length - 1}/${bytes.length}` };
    const sent = fault !== undefined && 'after' in fault ? body.subarray(0, fault.after) : body;
    response.writeHead(isPart ? 206 : 200, {
      ...headers,
      ...(fault?.kind === 'short' ? {} : { 'content-length': body.length }),
      ...(isPart ? place : {}),
    });
    if (request.method === 'HEAD') response.end();
    else if (fault?.kind === 'cut') response.write(sent, () => request.socket.destroy());
    else if (fault?.kind === 'stall') response.write(sent);
    else response.end(sent);
  }
}

type Files = Readonly<Record<string, Buffer | string>>;

interface Entry {
  readonly size: number;
  readonly oid: string;
  readonly lfs?: { readonly oid: string; readonly size: number; readonly pointerSize: number };
  /** Of what lies in the Hub's newer store, with a pointer for LFS all the same. */
  readonly xetHash?: string;
}

function entry(bytes: Buffer, size = bytes.length): Entry {
  if (bytes.length < LFS_BYTES) return { size, oid: gitHash(bytes) };
  const oid = createHash('sha256').update(bytes).digest('hex');
  const pointer = Buffer.from(
    `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${bytes.length}\n`,
  );
  const lfs = { oid, size, pointerSize: pointer.length };
  const xetHash = createHash('sha256').update(`xet ${oid}`).digest('hex');
  return { size, oid: gitHash(pointer), lfs, xetHash };
}

function siblings({ files }: Repository): object[] {
  return [...files.keys()].map((rfilename) => ({ rfilename }));
}

function gitHash(bytes: Buffer): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

function seen({ url = '', headers }: IncomingMessage): Request {
  return { path: url, range: headers.range, authorization: headers.authorization };
}

function address(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function json(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function fail(
  response: ServerResponse,
  { status, retryAfter }: Extract<Fault, { kind: 'status' }>,
): void {
  response.writeHead(status, retryAfter === undefined ? {} : { 'retry-after': retryAfter }).end();
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { 'x-error-code': code, 'x-error-message': message }).end();
}
