/** A dataset's name on the Hub: `org/name[@revision][:configuration]`. */

import { BpeftError } from '../errors.ts';
import { isPlainPath } from './model-id.ts';

export interface DatasetId {
  /** `org/name`. */
  readonly repository: string;
  /** A branch, a tag or a commit; null: `main`, or what the Hub has made of it. */
  readonly revision: string | null;
  readonly configuration: string | null;
}

const ID = /^([\w.-]+\/[\w.-]+)(?:@([^:@]+))?(?::(.+))?$/;

/**
 * Null: the text has another form. @throws {BpeftError} `BPEFT_USAGE`: a part that no repository
 * can have
 */
export function parseDatasetId(text: string): DatasetId | null {
  const match = ID.exec(text);
  if (match === null) return null;
  const [, repository = '', revision = null, configuration = null] = match;
  const bad = [repository, revision].find((part) => part !== null && !isPlainPath(part));
  if (bad === undefined) return { repository, revision, configuration };
  throw new BpeftError(
    'BPEFT_USAGE',
    `a dataset on the Hub must have a plain name, got ${JSON.stringify(bad)}`,
    {
      hint: 'write org/name, org/name@revision or org/name:configuration',
    },
  );
}

/** As it is written on the command line. */
export function datasetIdText({ repository, revision, configuration }: DatasetId): string {
  const at = revision === null ? '' : `@${revision}`;
  return `${repository}${at}${configuration === null ? '' : `:${configuration}`}`;
}
