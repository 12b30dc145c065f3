/** What a repository holds at a revision, as the Hub says. */

import type { Response } from 'undici';
import { z } from 'zod';
import { BpeftError } from '../errors.ts';
import type { Hub } from './environment.ts';
import { isPlainPath } from './model-id.ts';
import { apiAddress, type RepositoryId } from './repository.ts';
import { request } from './request.ts';

/** One file, with the hash that its bytes must have. */
export interface HubFile {
  readonly path: string;
  readonly bytes: number;
  /** The blob's name in the cache: the SHA-256 of the file, or git's hash of it. */
  readonly etag: string;
  readonly hash: 'sha256' | 'git';
}

export interface Listing {
  readonly commit: string;
  readonly files: readonly HubFile[];
}

const Sha1 = z.string().regex(/^[0-9a-f]{40}$/);
const Info = z.object({ sha: Sha1, id: z.string() });
const Entry = z.object({
  type: z.string(),
  path: z.string().refine(isPlainPath, 'must stay inside the repository'),
  size: z.int().nonnegative(),
  oid: Sha1,
  lfs: z
    .object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().nonnegative() })
    .optional(),
});

/** @throws {BpeftError} what {@link request} throws; `BPEFT_IO`: the answer is none of a hub's */
export async function listRepository(
  hub: Hub,
  id: RepositoryId,
  signal: AbortSignal | undefined,
): Promise<Listing> {
  const api = apiAddress(hub, id);
  const about = `${api}/revision/${encodeURIComponent(id.revision)}`;
  const { sha, id: current } = await parsed(Info, await request(hub, about, { id, signal }));
  if (current !== id.repository) {
    process.emitWarning(`${id.kind} ${id.repository} is now called ${current}`, {
      code: 'BPEFT_NOTICE',
    });
  }
  const files: HubFile[] = [];
  let page: string | null = `${api}/tree/${sha}?recursive=true`;
  while (page !== null) {
    const answer = await request(hub, page, { id, signal });
    for (const { type, path, size, oid, lfs } of await parsed(z.array(Entry), answer)) {
      if (type !== 'file') continue;
      files.push(
        lfs === undefined
          ? { path, bytes: size, etag: oid, hash: 'git' }
          : { path, bytes: lfs.size, etag: lfs.oid, hash: 'sha256' },
      );
    }
    const next = /<([^>]+)>;\s*rel="next"/.exec(answer.headers.get('link') ?? '');
    page = next?.[1] === undefined ? null : new URL(next[1], page).href;
  }
  return { commit: sha, files };
}

/** The body of an answer. @throws {BpeftError} `BPEFT_IO`: it has another form */
export async function parsed<T>(schema: z.ZodType<T>, answer: Response): Promise<T> {
  try {
    return schema.parse(await answer.json());
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw new BpeftError('BPEFT_IO', `${answer.url} is no answer of a Hub: ${reason}`, {
      hint: 'check HF_ENDPOINT, and whether a proxy answers in its place',
      cause,
    });
  }
}
