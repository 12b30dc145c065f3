/** What `--model` means: an existing path, or one that begins with `.` or `/`; `builtin:`; else a hub id. */

import { existsSync } from 'node:fs';
import { basename, isAbsolute, resolve } from 'node:path';
import { assetPath } from '../assets.ts';
import { BpeftError } from '../errors.ts';
import { unknownName } from '../nearest.ts';

export type ModelSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'random'; readonly seed: number };

export interface BuiltinModel {
  readonly name: string;
  readonly title: string;
}

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

/** The weights of `builtin:random` never change, whatever the run's seed. */
const RANDOM_MODEL_SEED = 1;

/** @throws {BpeftError} `BPEFT_USAGE` for an unknown builtin, `BPEFT_UNSUPPORTED` for a hub id. */
export function modelSource(model: string): ModelSource {
  if (model.startsWith('builtin:')) {
    if (model === 'builtin:tiny') return { kind: 'file', path: assetPath('tiny.gguf') };
    if (model === 'builtin:random') return { kind: 'random', seed: RANDOM_MODEL_SEED };
    const { message, hint } = unknownName(
      'builtin model',
      model,
      BUILTIN_MODELS.map(({ name }) => name),
    );
    throw new BpeftError('BPEFT_USAGE', message, { hint });
  }
  if (isPath(model)) return { kind: 'file', path: resolve(model) };
  if (model.toLowerCase().endsWith('.gguf')) {
    throw new BpeftError('BPEFT_MODEL_NOT_FOUND', `no model at ${model}: no such file`, {
      hint: 'check the path; --model takes a .gguf file, a folder, builtin:tiny or builtin:random',
    });
  }
  throw new BpeftError(
    'BPEFT_UNSUPPORTED',
    `model ${JSON.stringify(model)} is no path; hub ids are not supported yet`,
    {
      hint: 'download the model and give its folder or .gguf file; a path that does not exist yet begins with ./',
    },
  );
}

/** A value that is an existing path or begins with `.` or `/`. */
export function isPath(value: string): boolean {
  return value.startsWith('.') || isAbsolute(value) || existsSync(value);
}

/** A path as it may be written into a file that people share: never absolute. */
export function shareableName(value: string): string {
  return isAbsolute(value) || value.startsWith('..') ? basename(value) : value;
}
