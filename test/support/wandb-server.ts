/** A stand-in for W&B's server on loopback: it keeps what it is sent, and fails as it is told. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** What it does with a request instead of answering it. */
export type Fault = 'status-500' | 'status-429' | 'reset' | 'silence' | 'slow';

/** One run as the server has it. */
export interface KeptRun {
  readonly history: Record<string, unknown>[];
  readonly events: Record<string, unknown>[];
  readonly output: string[];
  readonly files: Map<string, Buffer>;
  config: Record<string, unknown>;
  summary: Record<string, unknown>;
  variables: Record<string, unknown>;
  isComplete: boolean;
  exitCode: number | null;
}

/** What it gives an access token for, and that token. */
export const IDENTITY_TOKEN = 'header.claims.signature';
const ACCESS_TOKEN = 'access-for-an-hour';

export const API_KEY = 'abcdef0123456789abcdef0123456789abcdef01';

export class StandInWandb {
  readonly runs = new Map<string, KeptRun>();
  /** Paths of all requests, in order. */
  readonly requests: string[] = [];
  /** Faults of the next requests, first to last; null: a good answer. */
  faults: (Fault | null)[] = [];
  /** For every request once `faults` are used up. */
  always: Fault | null = null;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<StandInWandb> {
    const stand = new StandInWandb();
    await new Promise<void>((resolve) => stand.#server.listen(0, '127.0.0.1', resolve));
    return stand;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** The run with this id. @throws when it never came */
  run(id: string): KeptRun {
    const found = this.runs.get(id);
    if (found === undefined)
      throw new Error(`the server has no run ${id}, only ${[...this.runs.keys()]}`);
    return found;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    this.requests.push(request.url ?? '');
    const fault = this.faults.length > 0 ? this.faults.shift() : this.always;
    if (fault === 'reset') return void request.socket.resetAndDestroy();
    if (fault === 'silence') return;
    if (fault === 'slow') await pause(150);
    if (fault === 'status-500' || fault === 'status-429')
      return void send(response, Number(fault.slice(7)), {});
    if (request.url === '/oidc/token') return void send(response, ...exchanged(body.toString()));
    const known = [`Basic ${btoa(`api:${API_KEY}`)}`, `Bearer ${ACCESS_TOKEN}`];
    const isKnown = known.includes(request.headers.authorization ?? '');
    if (!isKnown && !request.url?.startsWith('/upload/')) return void send(response, 401, {});
    const [, where = ''] = (request.url ?? '').split('/');
    if (where === 'graphql') return void send(response, 200, this.#graphql(body.toString()));
    const [, , , , id = ''] = (request.url ?? '').split('/');
    if (where === 'files') this.#stream(id, JSON.parse(body.toString()));
    if (where === 'upload') {
      const [, , run = '', ...path] = decodeURIComponent(request.url ?? '').split('/');
      this.run(run).files.set(path.join('/'), body);
    }
    send(response, 200, {});
  }

  #graphql(body: string): object {
    const { query, variables } = JSON.parse(body) as {
      query: string;
      variables: Record<string, unknown>;
    };
    if (query.includes('upsertBucket')) return { data: { upsertBucket: this.#upsert(variables) } };
    if (query.includes('createRunFiles')) {
      const files = (variables.files as string[]).map((name) => ({
        name,
        uploadUrl: `${this.url}/upload/${variables.run}/${name}`,
      }));
      return { data: { createRunFiles: { runID: 'stored', uploadHeaders: [], files } } };
    }
    if (query.includes('RunResumeStatus')) {
      const run = this.runs.get(String(variables.name));
      return {
        data: {
          model: run === undefined ? null : { bucket: statusOf(String(variables.name), run) },
        },
      };
    }
    return { data: {} };
  }

  #upsert(variables: Record<string, unknown>): object {
    const id = String(variables.name);
    const run = this.runs.get(id) ?? emptyRun();
    this.runs.set(id, run);
    const given = Object.entries(variables).filter(([, value]) => value !== null);
    run.variables = { ...run.variables, ...Object.fromEntries(given) };
    if (typeof variables.config === 'string') run.config = JSON.parse(variables.config);
    const entity = String(variables.entity ?? 'someone');
    const project = { id: 'p', name: String(variables.project), entity: { id: 'e', name: entity } };
    const bucket = {
      ...statusOf(id, run),
      displayName: variables.displayName,
      sweepName: null,
      project,
    };
    return { bucket, inserted: true };
  }

  #stream(id: string, body: StreamBody): void {
    const run = this.run(id);
    for (const [name, { offset, content }] of Object.entries(body.files ?? {})) {
      if (name === 'wandb-summary.json') run.summary = JSON.parse(content.at(-1) ?? '{}');
      if (name === 'wandb-history.jsonl') put(run.history, offset, content.map(parsed));
      if (name === 'wandb-events.jsonl') put(run.events, offset, content.map(parsed));
      if (name === 'output.log') put(run.output, offset, content);
    }
    if (body.complete === true) {
      run.isComplete = true;
      run.exitCode = body.exitcode ?? null;
    }
  }
}

interface StreamBody {
  readonly files?: Readonly<Record<string, { offset: number; content: string[] }>>;
  readonly complete?: boolean;
  readonly exitcode?: number;
}

/** RFC 7523 §2.1 */
function exchanged(form: string): [status: number, body: object] {
  const { grant_type: grant, assertion } = Object.fromEntries(new URLSearchParams(form));
  const isGood =
    grant === 'urn:ietf:params:oauth:grant-type:jwt-bearer' && assertion === IDENTITY_TOKEN;
  return isGood ? [200, { access_token: ACCESS_TOKEN, expires_in: 3600 }] : [401, {}];
}

function emptyRun(): KeptRun {
  return {
    ...{ history: [], events: [], output: [], files: new Map() },
    ...{ config: {}, summary: {}, variables: {}, isComplete: false, exitCode: null },
  };
}

function statusOf(name: string, run: KeptRun): object {
  return {
    id: 'stored',
    name,
    historyLineCount: run.history.length,
    eventsLineCount: run.events.length,
    logLineCount: run.output.length,
    historyTail: JSON.stringify(run.history.slice(-1).map((row) => JSON.stringify(row))),
    eventsTail: '[]',
    summaryMetrics: JSON.stringify(run.summary),
    config: JSON.stringify(run.config),
    tags: [],
    wandbConfig: '{}',
  };
}

/** As the server does it: lines at a position replace those that are there. */
function put<T>(lines: T[], offset: number, content: readonly T[]): void {
  if (offset > lines.length) throw new Error(`a gap: line ${offset} after ${lines.length}`);
  lines.splice(offset, content.length, ...content);
}

function parsed(line: string): Record<string, unknown> {
  return JSON.parse(line) as Record<string, unknown>;
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
