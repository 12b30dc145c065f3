/** An adapter's folder: PEFT's two files, ours, and the further members of an ensemble. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CallOptions } from '../../engine/call.ts';
import { folderHash, hashedFiles, type ModelFile } from '../../engine/resolved-model.ts';
import { io } from './atomic.ts';

const PEFT = ['adapter_config.json', 'adapter_model.safetensors'];
export const RECORD = 'bpeft.json';

/** Those of an adapter of so many members, in its folder. */
export function adapterFiles(members: number): string[] {
  const folders = Array.from({ length: members }, (_, member) => memberFolder(member));
  return [...folders.flatMap((folder) => PEFT.map((name) => join(folder, name))), RECORD];
}

/** The first member is the folder itself, as PEFT reads it. */
function memberFolder(member: number): string {
  return member === 0 ? '.' : `adapter_${member}`;
}

/** @param path in the folder */
export function isAdapterFile(path: string): boolean {
  return path === RECORD || PEFT.includes(path.replace(/^adapter_\d+\//, ''));
}

/** Where an adapter was found. */
export interface FoundAdapter {
  readonly folder: string;
  /** `org/name[:folder]` of the Hub, or the folder's own name. */
  readonly name: string;
  /** Commit on the Hub; null: a folder of this machine. */
  readonly revision: string | null;
}

/** Which adapter a run was given, in `config.json` and `result.json`. */
export interface AdapterIdentity extends Pick<FoundAdapter, 'name' | 'revision'> {
  /** As of a model's folder. */
  readonly sha256: string;
  readonly files: readonly ModelFile[];
}

/** Hashes its files, off the main thread. */
export async function adapterIdentity(
  { folder, name, revision }: FoundAdapter,
  call: CallOptions = {},
): Promise<AdapterIdentity> {
  const paths = await io(folder, () => readdir(folder, { recursive: true }));
  const names = paths.filter(isAdapterFile).sort();
  const places = names.map((one) => join(folder, one));
  const files = await hashedFiles(names, places, { signal: call.signal });
  return { name, revision, sha256: folderHash(files), files };
}
