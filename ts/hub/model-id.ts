/** A model's name on the Hub: `org/name[@revision][:file]`. */

import { BpeftError } from '../errors.ts';

export interface ModelId {
  /** `org/name`. */
  readonly repository: string;
  /** A branch, a tag or a commit; `main` unless given. */
  readonly revision: string;
  /**
   * A .gguf file, or the part of its name that names a quantisation (`Q4_K_M`); null: what the
   * model needs.
   */
  readonly file: string | null;
}

const ID = /^([\w.-]+\/[\w.-]+)(?:@([^:@]+))?(?::(.+))?$/;
const COMMIT = /^[0-9a-f]{40}$/;

/**
 * Null: the text has another form. @throws {BpeftError} `BPEFT_USAGE`: a part that no repository
 * can have
 */
export function parseModelId(text: string): ModelId | null {
  const match = ID.exec(text);
  if (match === null) return null;
  const [, repository = '', revision = 'main', file = null] = match;
  for (const [part, value] of [
    ['repository', repository],
    ['revision', revision],
    ['file', file ?? ''],
  ] as const) {
    if (value === '' || isPlainPath(value)) continue;
    const got = JSON.stringify(value);
    throw new BpeftError(
      'BPEFT_USAGE',
      `the ${part} of a model on the Hub must be a plain name, got ${got}`,
      {
        hint: 'write org/name, org/name@revision or org/name:file.gguf',
      },
    );
  }
  return { repository, revision, file };
}

/** A full commit hash, whose files never change. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/** Names between slashes that lead nowhere else; what a server sends is not trusted to be one. */
export function isPlainPath(path: string): boolean {
  return !path.includes('\\') && path.split('/').every((name) => !['', '.', '..'].includes(name));
}

/** As it is written into records. */
export function idText({ repository, file }: Pick<ModelId, 'repository' | 'file'>): string {
  return file === null ? repository : `${repository}:${file}`;
}
