/** What `--model` means: an existing path, or one that begins with `.` or `/`; `builtin:`; else a hub id. */

import { existsSync } from 'node:fs';
import { basename, isAbsolute } from 'node:path';
import { assetPath } from '../assets.ts';
import { BpeftError } from '../errors.ts';
import { nearestName, unknownName } from '../nearest.ts';

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
  '--model takes a .gguf file, a folder with config.json and *.safetensors, builtin:tiny or builtin:random';

/** The weights of `builtin:random` never change, whatever the run's seed. */
const RANDOM_MODEL_SEED = 1;

/**
 * A path stays as it was given, so that messages name what the user wrote.
 * @throws {BpeftError} `BPEFT_USAGE` for an unknown builtin, `BPEFT_MODEL_NOT_FOUND` for a path where nothing
 * lies, `BPEFT_UNSUPPORTED` for a hub id.
 */
export function modelSource(model: string): ModelSource {
  if (model.startsWith(PREFIX)) return builtinSource(model);
  if (existsSync(model)) return { kind: 'file', path: model };
  if (isPath(model) || model.toLowerCase().endsWith('.gguf')) {
    throw new BpeftError('BPEFT_MODEL_NOT_FOUND', `no model at ${model}: no such file or folder`, {
      hint: `check the path; ${MODEL_HINT}`,
    });
  }
  const builtin = nearestName(
    model,
    BUILTIN_MODELS.map(({ name }) => name.slice(PREFIX.length)),
  );
  const remedy = 'download the model and give its folder or .gguf file';
  throw new BpeftError(
    'BPEFT_UNSUPPORTED',
    `model ${JSON.stringify(model)} is no file or folder here; hub ids are not supported yet`,
    { hint: builtin === null ? remedy : `did you mean ${PREFIX}${builtin}? Otherwise ${remedy}` },
  );
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
