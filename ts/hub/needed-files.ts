/** Which of a repository's files make the model: one .gguf file, or a folder in safetensors. */

import { z } from 'zod';
import { BpeftError } from '../errors.ts';
import type { ModelId } from './model-id.ts';

export const INDEX = 'model.safetensors.index.json';
const WEIGHTS = 'model.safetensors';
const CONFIG = 'config.json';
const BESIDE = [CONFIG, 'tokenizer.json', 'tokenizer_config.json'];
const PICKLE = /\.(bin|pt|pth|ckpt)$/;
const Index = z.object({ weight_map: z.record(z.string(), z.string()) });

export type NeededFiles =
  | { readonly kind: 'file'; readonly path: string }
  | {
      readonly kind: 'folder';
      /** Read before the weights. */
      readonly settings: readonly string[];
      /** Null: those that the index among `settings` names. */
      readonly weights: readonly string[] | null;
    };

/**
 * Safetensors before GGUF; of several GGUF files the one that is asked for.
 * @throws {BpeftError} `BPEFT_USAGE`: a file must be chosen; `BPEFT_MODEL_NOT_FOUND`,
 * `BPEFT_UNSUPPORTED`: there is none
 */
export function neededFiles({ repository, file }: ModelId, paths: readonly string[]): NeededFiles {
  const ggufs = paths.filter((path) => path.toLowerCase().endsWith('.gguf'));
  const list = `its .gguf files: ${ggufs.join(', ') || 'none'}`;
  if (file !== null) {
    const exact = ggufs.filter((path) => path === file);
    const like = ggufs.filter((path) => path.toLowerCase().includes(file.toLowerCase()));
    const [path, ...others] = exact.length > 0 ? exact : like;
    if (path !== undefined && others.length === 0) return { kind: 'file', path };
    const message = `${file} names ${path === undefined ? 'no' : 'more than one'} .gguf file of ${repository}`;
    throw new BpeftError('BPEFT_MODEL_NOT_FOUND', message, { hint: list });
  }
  const beside = BESIDE.filter((name) => paths.includes(name));
  if (paths.includes(CONFIG) && paths.includes(WEIGHTS)) {
    return { kind: 'folder', settings: beside, weights: [WEIGHTS] };
  }
  if (paths.includes(CONFIG) && paths.includes(INDEX)) {
    return { kind: 'folder', settings: [...beside, INDEX], weights: null };
  }
  const [gguf, ...more] = ggufs;
  if (gguf !== undefined && more.length === 0) return { kind: 'file', path: gguf };
  if (gguf !== undefined) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `${repository} holds ${ggufs.length} .gguf files: which one?`,
      {
        hint: `write ${repository}:${gguf}; ${list}`,
      },
    );
  }
  const pickle = paths.find((path) => PICKLE.test(path));
  if (pickle !== undefined) {
    throw new BpeftError(
      'BPEFT_UNSUPPORTED',
      `${repository} holds its weights only as a pickle (${pickle}), a format that can run any program`,
      {
        hint: 'load it with transformers where you trust it, save_pretrained(folder), and give --model the folder',
      },
    );
  }
  throw new BpeftError(
    'BPEFT_MODEL_NOT_FOUND',
    `${repository} holds no ${WEIGHTS} with a ${CONFIG}, and no .gguf file`,
    {
      hint: 'it may be an adapter or a dataset; give the model that it belongs to',
    },
  );
}

/** The files of the weights that an index names. @throws {BpeftError} `BPEFT_MODEL_CORRUPT` */
export function shardsOf(repository: string, index: string): string[] {
  try {
    return [...new Set(Object.values(Index.parse(JSON.parse(index)).weight_map))].sort();
  } catch (cause) {
    const message = `${repository}: ${INDEX} names no files of weights`;
    throw new BpeftError('BPEFT_MODEL_CORRUPT', message, { cause });
  }
}
