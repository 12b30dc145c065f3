/**
 * Sends a folder's files to a repository of models, as one commit.
 *
 * ```text
 * POST /api/models/<name>/preupload/main    which files go to LFS
 * POST /<name>.git/info/lfs/objects/batch   where the bytes of those go; no address: they are there
 * PUT  <address>                            the bytes
 * POST /api/models/<name>/commit/main       lines of JSON: the message, small files whole, large ones by SHA-256
 * ```
 *
 * Large files are hashed and sent as streams; one that changes in between is not sent.
 */

import { openAsBlob } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type CallOptions, teller } from '../engine/call.ts';
import { BpeftError } from '../errors.ts';
import { io } from '../run/records/atomic.ts';
import { sha256OfFiles } from '../threads/sha256.ts';
import type { Hub } from './environment.ts';
import { parsed } from './listing.ts';
import { apiAddress, pageAddress, type RepositoryId } from './repository.ts';
import { type RequestOptions, request } from './request.ts';

/** Of a file: by it the Hub tells text from what belongs into LFS. */
const SAMPLE_BYTES = 512;

export interface Push {
  /** `org/name`. */
  readonly repository: string;
  readonly folder: string;
  /** In the folder. */
  readonly paths: readonly string[];
  readonly message: string;
  /** Whether the repository is made, private, if it is not there. */
  readonly isCreated: boolean;
}

export interface Pushed {
  readonly commit: string;
  readonly url: string;
}

interface OwnFile {
  /** In the folder, and in the repository. */
  readonly path: string;
  readonly from: string;
  readonly size: number;
  readonly sha256: string;
}

/**
 * @throws {BpeftError} `BPEFT_USAGE`: no token, or it may not write there; `BPEFT_IO`,
 * `BPEFT_ABORTED`
 */
export async function pushFolder(hub: Hub, push: Push, call: CallOptions = {}): Promise<Pushed> {
  if (hub.token === null) {
    throw new BpeftError('BPEFT_USAGE', `${hub.endpoint} takes no files without a token`, {
      hint: 'set HF_TOKEN to one that may write, or run hf auth login',
    });
  }
  const id = { kind: 'model', repository: push.repository, revision: 'main' } as const;
  const files = await ownFiles(push, call);
  if (push.isCreated) await create(hub, id, call);
  const large = await largeFiles(hub, id, files, call);
  await sendLarge(hub, id, large, call);
  const lines = [
    { key: 'header', value: { summary: push.message, description: '' } },
    ...(await Promise.all(files.map((file) => operation(file, large.includes(file))))),
  ];
  const Answer = z.object({ commitOid: z.string() });
  const { commitOid } = await post(hub, id, `${apiAddress(hub, id)}/commit/main`, Answer, call, {
    body: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    headers: { 'content-type': 'application/x-ndjson' },
  });
  return { commit: commitOid, url: pageAddress(hub, id) };
}

async function ownFiles({ folder, paths }: Push, { signal }: CallOptions): Promise<OwnFile[]> {
  const files = await Promise.all(
    paths.map(async (path) => {
      const from = join(folder, path);
      const { size } = await io(from, () => stat(from));
      return { path, from, size };
    }),
  );
  const hashes = await sha256OfFiles(
    files.map(({ from }) => from),
    { signal },
  );
  return files.map((file, at) => ({ ...file, sha256: hashes[at] ?? '' }));
}

/** Its first bytes. */
async function sampleOf({ from }: OwnFile): Promise<string> {
  return io(from, async () => {
    await using handle = await open(from);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(SAMPLE_BYTES), 0, SAMPLE_BYTES, 0);
    return buffer.subarray(0, bytesRead).toString('base64');
  });
}

async function create(hub: Hub, id: RepositoryId, call: CallOptions): Promise<void> {
  const [organization, name] = id.repository.split('/');
  const body = JSON.stringify({ type: 'model', organization, name, private: true });
  const isThere = new BpeftError('BPEFT_USAGE', 'it is there already');
  const refused = (status: number, said: string) =>
    status === 409 ? isThere : refusedWrite(hub, id, status, said);
  const options = {
    id,
    method: 'POST',
    body,
    headers: JSON_BODY,
    refused,
    signal: call.signal,
  } as const;
  try {
    await (await request(hub, `${hub.endpoint}/api/repos/create`, options)).body?.cancel();
  } catch (error) {
    if (error !== isThere) throw error;
  }
}

const JSON_BODY = { 'content-type': 'application/json' };
const LFS_BODY = {
  'content-type': 'application/vnd.git-lfs+json',
  accept: 'application/vnd.git-lfs+json',
};

async function largeFiles(
  hub: Hub,
  id: RepositoryId,
  files: readonly OwnFile[],
  call: CallOptions,
): Promise<readonly OwnFile[]> {
  const asked = await Promise.all(
    files.map(async (file) => ({
      path: file.path,
      size: file.size,
      sample: await sampleOf(file),
    })),
  );
  const Answer = z.object({
    files: z.array(z.object({ path: z.string(), uploadMode: z.string() })),
  });
  const answer = await post(hub, id, `${apiAddress(hub, id)}/preupload/main`, Answer, call, {
    body: JSON.stringify({ files: asked }),
    headers: JSON_BODY,
  });
  const modes = new Map(answer.files.map(({ path, uploadMode }) => [path, uploadMode]));
  return files.filter(({ path }) => modes.get(path) === 'lfs');
}

const Action = z.object({ href: z.url(), header: z.record(z.string(), z.string()).optional() });
const Batch = z.object({
  objects: z.array(
    z.object({
      oid: z.string(),
      actions: z.object({ upload: Action, verify: Action.optional() }).optional(),
      error: z.object({ message: z.string() }).optional(),
    }),
  ),
});

async function sendLarge(
  hub: Hub,
  id: RepositoryId,
  files: readonly OwnFile[],
  call: CallOptions,
): Promise<void> {
  if (files.length === 0) return;
  const objects = files.map(({ sha256, size }) => ({ oid: sha256, size }));
  const body = {
    operation: 'upload',
    transfers: ['basic'],
    hash_algo: 'sha_256',
    ref: { name: 'main' },
    objects,
  };
  const url = `${pageAddress(hub, id)}.git/info/lfs/objects/batch`;
  const batch = await post(hub, id, url, Batch, call, {
    body: JSON.stringify(body),
    headers: LFS_BODY,
  });
  const total = objects.reduce((sum, { size }) => sum + size, 0);
  const tell = teller(call.onProgress);
  let done = 0;
  for (const { sha256, size, path, from } of files) {
    const object = batch.objects.find(({ oid }) => oid === sha256);
    if (object?.error !== undefined || object === undefined) {
      throw new BpeftError(
        'BPEFT_IO',
        `${id.repository} takes no ${path}: ${object?.error?.message ?? 'no address'}`,
      );
    }
    const { signal } = call;
    const { upload, verify } = object.actions ?? {};
    if (upload !== undefined) {
      const options = {
        id,
        method: 'PUT',
        body: await io(from, () => openAsBlob(from)),
        headers: upload.header ?? {},
        signal,
      } as const;
      await (await request(hub, upload.href, options)).body?.cancel();
    }
    if (verify !== undefined) {
      const checked = JSON.stringify({ oid: sha256, size });
      const headers = { ...LFS_BODY, ...verify.header };
      const options = { id, method: 'POST', body: checked, headers, signal } as const;
      await (await request(hub, verify.href, options)).body?.cancel();
    }
    done += size;
    tell({ activity: 'uploading', subject: id.repository, unit: 'bytes', done, total });
  }
}

async function operation({ path, from, size, sha256 }: OwnFile, isLarge: boolean): Promise<object> {
  if (isLarge) return { key: 'lfsFile', value: { path, algo: 'sha256', oid: sha256, size } };
  const content = await io(from, () => readFile(from, 'base64'));
  return { key: 'file', value: { path, encoding: 'base64', content } };
}

async function post<T>(
  hub: Hub,
  id: RepositoryId,
  url: string,
  answer: z.ZodType<T>,
  { signal }: CallOptions,
  options: Pick<RequestOptions, 'body' | 'headers'>,
): Promise<T> {
  const refused = (status: number, said: string) => refusedWrite(hub, id, status, said);
  return parsed(
    answer,
    await request(hub, url, { ...options, id, method: 'POST', refused, signal }),
  );
}

function refusedWrite(
  hub: Hub,
  { repository }: RepositoryId,
  status: number,
  said: string,
): BpeftError {
  const reason = /"error"\s*:\s*"([^"]*)"/.exec(said)?.[1] ?? `it answers ${status}`;
  const hints: Readonly<Record<number, string>> = {
    401: 'check the token: HF_TOKEN, or hf auth login',
    403: 'give a token that may write there, or another repository',
    404: `make it at ${hub.endpoint}/new, or give --create, which makes it private`,
  };
  return new BpeftError(
    'BPEFT_USAGE',
    `${hub.endpoint} does not take files for ${repository}: ${reason}`,
    {
      hint: hints[status],
    },
  );
}
