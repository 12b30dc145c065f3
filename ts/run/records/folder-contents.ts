/**
 * What a folder holds, so that a command replaces only what a command of its kind has written.
 *
 * A training run is known by the mark in `config.json` (or, killed before that was written, by its
 * `state/`); an evaluation by the one in `result.json` (or by prediction files alone).
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpeftError } from '../../errors.ts';
import { isPredictionFile } from './prediction-files.ts';

export type FolderContents =
  | { readonly kind: 'nothing' | 'training' | 'evaluation' }
  /** Something of a name that a run would use, and none of bpeft's. */
  | { readonly kind: 'foreign'; readonly path: string };

/** Names of a run's own files and folders. */
export const RUN_NAMES = [
  'config.json',
  'metrics.jsonl',
  'result.json',
  'adapter',
  'state',
  'log.txt',
  'predictions',
] as const;

export function folderContents(folder: string): FolderContents {
  const present = RUN_NAMES.filter((name) => existsSync(join(folder, name)));
  const has = (name: (typeof RUN_NAMES)[number]) => present.includes(name);
  const records = new Map<string, Record<string, unknown>>();
  for (const name of ['config.json', 'result.json'] as const) {
    if (!has(name)) continue;
    const record = readRecord(join(folder, name));
    if (record === null) return { kind: 'foreign', path: join(folder, name) };
    records.set(name, record);
  }
  const result = records.get('result.json');
  if (records.has('config.json') || (result !== undefined && result.training !== null)) {
    return { kind: 'training' };
  }
  if (has('state') && isBegunState(join(folder, 'state'))) return { kind: 'training' };
  if (result !== undefined) return { kind: 'evaluation' };
  const [first] = present;
  if (first === undefined) return { kind: 'nothing' };
  const predictions = join(folder, 'predictions');
  if (present.length === 1 && has('predictions') && entries(predictions).every(isPredictionFile)) {
    return { kind: 'evaluation' };
  }
  return { kind: 'foreign', path: join(folder, first) };
}

export interface Claim {
  readonly kind: 'training' | 'evaluation';
  readonly overwrite: boolean;
  /** Undefined for a command that cannot resume. */
  readonly resume?: boolean;
}

/**
 * @throws {BpeftError} `BPEFT_RUN_EXISTS`: the folder holds what the caller did not ask to touch.
 */
export function requireClaim(folder: string, { kind, overwrite, resume }: Claim): void {
  const contents = folderContents(folder);
  if (contents.kind === 'nothing') return;
  if (contents.kind === 'foreign') {
    const message = `${contents.path} was not written by bpeft and is not replaced`;
    throw new BpeftError('BPEFT_RUN_EXISTS', message, {
      hint: 'give another --out, or move that away',
    });
  }
  if (contents.kind !== kind) {
    const [held, asked] = [CALLED[contents.kind], CALLED[kind]];
    throw new BpeftError(
      'BPEFT_RUN_EXISTS',
      `${folder} holds ${held}, which ${asked} never replaces`,
      {
        hint: `give another --out, such as ${join(folder, kind === 'evaluation' ? 'evaluation' : 'run')}`,
      },
    );
  }
  if (overwrite || resume === true) return;
  throw new BpeftError('BPEFT_RUN_EXISTS', `${folder} already holds ${CALLED[kind]}`, {
    hint:
      resume === undefined
        ? 'give another --out, or --overwrite'
        : 'add --resume or --overwrite, or give another --out',
  });
}

/** @throws {BpeftError} `BPEFT_RUN_EXISTS`: the folder is a run's, not one for runs */
export function requireFolderForRuns(folder: string): void {
  const { kind } = folderContents(folder);
  if (kind === 'nothing' || kind === 'foreign') return;
  const message = `${folder} holds ${CALLED[kind]}, and runs need a folder around them`;
  throw new BpeftError('BPEFT_RUN_EXISTS', message, {
    hint: `give another --out, such as ${join(folder, 'runs')}`,
  });
}

const CALLED = { training: 'a run', evaluation: 'an evaluation' } as const;

/** Null: not a JSON file with the mark of bpeft's records. */
function readRecord(path: string): Record<string, unknown> | null {
  try {
    const content = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown> | null;
    return typeof content?.format === 'number' ? content : null;
  } catch {
    return null;
  }
}

function isBegunState(path: string): boolean {
  const names = entries(path);
  return names.length === 0 || names.includes('paths.json') || names.includes('latest');
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
