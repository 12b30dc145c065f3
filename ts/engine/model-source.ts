/**
 * What `--model` means: an existing path, or one that begins with `.` or `/`; `builtin:`; else a
 * name on the Hub.
 */

import { existsSync } from 'node:fs';
import { basename, isAbsolute, resolve } from 'node:path';
import { assetPath } from '../assets.ts';
import { BpeftError } from '../errors.ts';
import { idText, parseModelId } from '../hub/model-id.ts';
import { pullModel } from '../hub/pull.ts';
import { nearestName, unknownName } from '../nearest.ts';
import type { CallOptions } from './call.ts';

export type ModelSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'random'; readonly seed: number };

export interface BuiltinModel {
  readonly name: string;
  readonly title: string;
}

const PREFIX = 'builtin:';

export const BUILTIN_MODELS: readonly BuiltinModel[] = [
  {
    name: 'builtin:tiny',
    title: 'a Llama of 4.1 million parameters that has read a little English: enough for the demo',
  },
  {
    name: 'builtin:random',
    title: 'a seeded two-layer Llama with a byte tokenizer: knows nothing, runs anywhere',
  },
];

export const MODEL_HINT =
  'a model is a .gguf file, a folder with config.json and *.safetensors, org/name[@revision][:file] of the Hub, builtin:tiny or builtin:random';

/** The weights of `builtin:random` never change, whatever the run's seed. */
const RANDOM_MODEL_SEED = 1;

/** A model that can be loaded. */
export interface FoundModel {
  /** What was asked for: a path as it was given, a name on the Hub, or `builtin:…`. */
  readonly requested: string;
  /** File or folder name, `org/name[:file]`, or `builtin:…`; never a path. */
  readonly name: string;
  /** The commit of a model of the Hub; null for others. */
  readonly revision: string | null;
  readonly source: ModelSource;
}

/**
 * Finds a model, and downloads one of the Hub that the cache does not hold. A path stays as it was
 * given, so that messages name what the user wrote.
 * @throws {BpeftError} `BPEFT_USAGE` for an unknown builtin, `BPEFT_MODEL_NOT_FOUND` for a path
 * where nothing lies, and what {@link pullModel} throws.
 */
export async function findModel(requested: string, call: CallOptions = {}): Promise<FoundModel> {
  if (requested.startsWith(PREFIX)) {
    return { requested, name: requested, revision: null, source: builtinSource(requested) };
  }
  if (existsSync(requested)) {
    const name = basename(resolve(requested));
    return { requested, name, revision: null, source: { kind: 'file', path: requested } };
  }
  const isFile = requested.toLowerCase().endsWith('.gguf') && !requested.includes(':');
  if (isPath(requested) || isFile) {
    throw new BpeftError(
      'BPEFT_MODEL_NOT_FOUND',
      `no model at ${requested}: no such file or folder`,
      {
        hint: `check the path; ${MODEL_HINT}`,
      },
    );
  }
  const id = parseModelId(requested);
  if (id === null) throw neither(requested);
  const { file, commit, path } = await pullModel(id, call);
  const name = idText({ ...id, file });
  return { requested, name, revision: commit, source: { kind: 'file', path } };
}

function neither(model: string): BpeftError {
  const builtin = nearestName(
    model,
    BUILTIN_MODELS.map(({ name }) => name.slice(PREFIX.length)),
  );
  const message = `model ${JSON.stringify(model)} is no file or folder here, and no name on the Hub`;
  return new BpeftError('BPEFT_MODEL_NOT_FOUND', message, {
    hint: builtin === null ? MODEL_HINT : `did you mean ${PREFIX}${builtin}? ${MODEL_HINT}`,
  });
}

function builtinSource(model: string): ModelSource {
  if (model === 'builtin:tiny') return { kind: 'file', path: assetPath('tiny.gguf') };
  if (model === 'builtin:random') return { kind: 'random', seed: RANDOM_MODEL_SEED };
  const { message, hint } = unknownName(
    'builtin model',
    model,
    BUILTIN_MODELS.map(({ name }) => name),
  );
  throw new BpeftError('BPEFT_USAGE', message, { hint });
}

/** A value that is an existing path or begins with `.` or `/`. */
export function isPath(value: string): boolean {
  return value.startsWith('.') || isAbsolute(value) || existsSync(value);
}

/** A path as it may be written into a file that people share: never absolute. */
export function shareableName(value: string): string {
  return isAbsolute(value) || value.startsWith('..') ? basename(value) : value;
}
