/** A repository of the Hub at a revision, and where its answers and files are. */

import type { BpeftErrorCode } from '../errors.ts';
import type { Hub } from './environment.ts';

export type RepositoryKind = 'model' | 'dataset';

export interface RepositoryId {
  readonly kind: RepositoryKind;
  /** `org/name`; some old datasets have no `org`. */
  readonly repository: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
}

export function apiAddress({ endpoint }: Hub, { kind, repository }: RepositoryId): string {
  return `${endpoint}/api/${kind}s/${repository}`;
}

/** The page for people; files lie below it. */
export function pageAddress({ endpoint }: Hub, { kind, repository }: RepositoryId): string {
  return `${endpoint}/${kind === 'dataset' ? 'datasets/' : ''}${repository}`;
}

export function fileAddress(hub: Hub, id: RepositoryId, commit: string, path: string): string {
  const names = path.split('/').map(encodeURIComponent).join('/');
  return `${pageAddress(hub, id)}/resolve/${commit}/${names}`;
}

/** The code of an error about what a repository is or lacks. */
export function codeOf({ kind }: Pick<RepositoryId, 'kind'>): BpeftErrorCode {
  return kind === 'model' ? 'BPEFT_MODEL_NOT_FOUND' : 'BPEFT_DATASET';
}
