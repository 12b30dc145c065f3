/**
 * W&B's server: the GraphQL calls that make a run and its files, and the stream of a run's lines.
 */

import { z } from 'zod';
import type { Credentials } from '../environment.ts';
import { jsonText } from '../records.ts';
import type { Row, RunIdentity } from '../row.ts';
import { type Patience, request, Unreachable } from './request.ts';

const RESUME_STATUS = `query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) {
      name historyLineCount eventsLineCount logLineCount historyTail
    }
  }
}`;

const UPSERT_BUCKET = `mutation UpsertBucket(
  $name: String, $project: String, $entity: String, $groupName: String, $displayName: String, $notes: String,
  $config: JSONString, $jobType: String, $program: String, $sweep: String, $tags: [String!]
) {
  upsertBucket(input: {
    name: $name, modelName: $project, entityName: $entity, groupName: $groupName, displayName: $displayName,
    notes: $notes, config: $config, jobType: $jobType, jobProgram: $program, sweep: $sweep, tags: $tags
  }) {
    bucket { id name project { name entity { name } } }
    inserted
  }
}`;

const CREATE_RUN_FILES = `mutation CreateRunFiles(
  $entity: String!, $project: String!, $run: String!, $files: [String!]!
) {
  createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) {
    uploadHeaders
    files { name uploadUrl }
  }
}`;

const Bucket = z.object({
  historyLineCount: z.number().nullish(),
  eventsLineCount: z.number().nullish(),
  logLineCount: z.number().nullish(),
  historyTail: z.string().nullish(),
});
const ResumeStatus = z.object({ model: z.object({ bucket: Bucket.nullish() }).nullish() });
const Upserted = z.object({
  upsertBucket: z.object({
    bucket: z.object({
      name: z.string(),
      project: z.object({ name: z.string(), entity: z.object({ name: z.string() }) }).nullish(),
    }),
  }),
});
const RunFiles = z.object({
  createRunFiles: z.object({
    uploadHeaders: z.array(z.string()).nullish(),
    files: z.array(z.object({ name: z.string(), uploadUrl: z.string() })),
  }),
});
const Token = z.object({ access_token: z.string() });

/** Lines that the server has of a run. */
export interface Progress {
  readonly history: number;
  readonly events: number;
  readonly output: number;
  /** `_step` of the last row; −1 without one. */
  readonly lastStep: number;
}

/** Where a run's lines go: names as the server spells them. */
export interface RunAddress {
  readonly entity: string;
  readonly project: string;
  readonly run: string;
}

export class WandbServer {
  readonly #baseUrl: string;
  readonly #credentials: Credentials;
  #authorization: string | null = null;

  constructor(baseUrl: string, credentials: Credentials) {
    this.#baseUrl = baseUrl;
    this.#credentials = credentials;
  }

  /** Null: the server knows no run of this id. */
  async progress(
    { id, project, entity }: RunIdentity,
    patience: Patience,
  ): Promise<Progress | null> {
    const { model } = await this.#call(
      ResumeStatus,
      RESUME_STATUS,
      { name: id, project, entity },
      patience,
    );
    const bucket = model?.bucket ?? null;
    if (bucket === null) return null;
    return {
      history: bucket.historyLineCount ?? 0,
      events: bucket.eventsLineCount ?? 0,
      output: bucket.logLineCount ?? 0,
      lastStep: lastStep(bucket.historyTail ?? null),
    };
  }

  /** Makes the run, or says anew what it is. */
  async upsert(run: RunIdentity, config: Row, patience: Patience): Promise<RunAddress> {
    const values = Object.entries(config).map(([key, value]) => [key, { value }]);
    const variables = {
      name: run.id,
      project: run.project,
      entity: run.entity,
      groupName: run.group,
      displayName: run.name,
      notes: run.notes,
      config: jsonText(Object.fromEntries(values)),
      jobType: run.jobType,
      program: 'bpeft',
      sweep: run.sweepId,
      tags: run.tags,
    };
    const { bucket } = (await this.#call(Upserted, UPSERT_BUCKET, variables, patience))
      .upsertBucket;
    return {
      entity: bucket.project?.entity.name ?? run.entity ?? '',
      project: bucket.project?.name ?? run.project,
      run: bucket.name,
    };
  }

  /** Sends lines; `body` as the file stream takes it. */
  async stream(
    { entity, project, run }: RunAddress,
    body: object,
    patience: Patience,
  ): Promise<void> {
    const path = [entity, project, run].map(encodeURIComponent).join('/');
    await this.#post(`${this.#baseUrl}/files/${path}/file_stream`, JSON.stringify(body), patience);
  }

  /** Uploads one file of the run. */
  async upload(
    { entity, project, run }: RunAddress,
    file: { readonly path: string; readonly bytes: Uint8Array },
    patience: Patience,
  ): Promise<void> {
    const variables = { entity, project, run, files: [file.path] };
    const { createRunFiles } = await this.#call(RunFiles, CREATE_RUN_FILES, variables, patience);
    const [target] = createRunFiles.files;
    if (target === undefined)
      throw new Unreachable(`${this.#baseUrl} gives no place for ${file.path}`);
    const headers = Object.fromEntries((createRunFiles.uploadHeaders ?? []).map(headerOf));
    const url = new URL(target.uploadUrl, this.#baseUrl).href;
    // Another host's place is signed in its address: our key is for this server only.
    const isOurs = new URL(url).origin === new URL(this.#baseUrl).origin;
    const authorization = isOurs ? await this.#authorize(patience) : {};
    await request(
      url,
      { method: 'PUT', headers: { ...authorization, ...headers }, body: file.bytes },
      patience,
    );
  }

  async #call<T>(
    schema: z.ZodType<T>,
    query: string,
    variables: object,
    patience: Patience,
  ): Promise<T> {
    const text = await this.#post(
      `${this.#baseUrl}/graphql`,
      JSON.stringify({ query, variables }),
      patience,
    );
    const answer = z.object({ data: schema }).safeParse(parsed(text));
    if (answer.success) return answer.data.data;
    const errors = z
      .object({ errors: z.array(z.object({ message: z.string() })).min(1) })
      .safeParse(parsed(text));
    const reason = errors.success
      ? errors.data.errors[0]?.message
      : 'its answer is not the one of a W&B server';
    throw new Unreachable(`${this.#baseUrl} refuses the run: ${reason ?? ''}`);
  }

  async #post(url: string, body: string, patience: Patience): Promise<string> {
    const headers = { 'content-type': 'application/json', ...(await this.#authorize(patience)) };
    return request(url, { method: 'POST', headers, body }, patience);
  }

  /** An identity token is changed for an access token first (RFC 7523 §2.1). */
  async #authorize(patience: Patience): Promise<{ authorization: string }> {
    if (this.#authorization === null) {
      if (this.#credentials.kind === 'key') {
        const pair = Buffer.from(`api:${this.#credentials.key}`).toString('base64');
        this.#authorization = `Basic ${pair}`;
      } else {
        const body = new URLSearchParams({
          grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
          assertion: this.#credentials.token,
        }).toString();
        const headers = { 'content-type': 'application/x-www-form-urlencoded' };
        const text = await request(
          `${this.#baseUrl}/oidc/token`,
          { method: 'POST', headers, body },
          patience,
        );
        const token = Token.safeParse(parsed(text));
        if (!token.success) throw new Unreachable(`${this.#baseUrl} gives no access token`);
        this.#authorization = `Bearer ${token.data.access_token}`;
      }
    }
    return { authorization: this.#authorization };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** `historyTail` is a JSON list of JSON rows. */
function lastStep(tail: string | null): number {
  const lines = z.array(z.string()).safeParse(parsed(tail ?? '[]'));
  const row = z.object({ _step: z.number() }).safeParse(parsed(lines.data?.at(-1) ?? ''));
  return row.success ? row.data._step : -1;
}

function headerOf(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
}
