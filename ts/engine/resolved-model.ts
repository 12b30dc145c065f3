/**
 * A base model as it was found: its source, its name, and its identity. Made once for each model
 * that is loaded; whatever a run records about its model comes from here.
 *
 * ```text
 * one file    sha256 = SHA-256(file)
 * a folder    sha256 = SHA-256(lines "<SHA-256 of the file>  <its name>", sorted by name)
 * ```
 */

import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { BpeftError } from '../errors.ts';
import { sha256OfFiles } from '../threads/sha256.ts';
import { type CallOptions, teller } from './call.ts';
import { type FoundModel, MODEL_HINT } from './model-source.ts';

/** What tells one base model from another. */
export interface ModelIdentity extends Pick<FoundModel, 'name' | 'revision'> {
  /** In hex. */
  readonly sha256: string;
}

export interface ModelFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface ResolvedModel extends FoundModel, ModelIdentity {
  /** Empty for a model that is made, not read. */
  readonly files: readonly ModelFile[];
}

/**
 * Hashes the model's files, off the main thread.
 * @throws {BpeftError} `BPEFT_MODEL_NOT_FOUND`, `BPEFT_ABORTED`.
 */
export async function resolveModel(
  found: FoundModel,
  call: CallOptions = {},
): Promise<ResolvedModel> {
  const { requested, source } = found;
  if (source.kind === 'random') {
    const sha256 = createHash('sha256').update(`${requested}:${source.seed}`).digest('hex');
    return { ...found, sha256, files: [] };
  }
  try {
    const isFolder = (await stat(source.path)).isDirectory();
    const names = isFolder
      ? (await readdir(source.path)).filter(isModelFile).sort()
      : [basename(source.path)];
    const paths = isFolder ? names.map((file) => join(source.path, file)) : [source.path];
    const files = await hashedFiles(names, paths, call);
    const [first] = files;
    const sha256 = isFolder || first === undefined ? folderHash(files) : first.sha256;
    return { ...found, sha256, files };
  } catch (cause) {
    if (cause instanceof BpeftError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpeftError('BPEFT_MODEL_NOT_FOUND', `no model at ${requested}: ${reason}`, {
      hint: MODEL_HINT,
      cause,
    });
  }
}

/** @param files sorted by name */
export function folderHash(files: readonly ModelFile[]): string {
  const list = files.map(({ sha256, name }) => `${sha256}  ${name}\n`).join('');
  return createHash('sha256').update(list).digest('hex');
}

export async function hashedFiles(
  names: readonly string[],
  paths: readonly string[],
  { signal, onProgress }: CallOptions,
): Promise<ModelFile[]> {
  const sizes = await Promise.all(paths.map(async (path) => (await stat(path)).size));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const tell = teller(onProgress);
  const hashes = await sha256OfFiles(paths, {
    signal,
    tell: (done) => tell({ activity: 'hashing', unit: 'bytes', done, total }),
  });
  return names.map((name, at) => ({ name, bytes: sizes[at] ?? 0, sha256: hashes[at] ?? '' }));
}

function isModelFile(file: string): boolean {
  const read = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];
  return file.endsWith('.safetensors') || read.includes(file);
}
