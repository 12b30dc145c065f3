/** Identity of a base model: SHA-256 of its file, or of the list of its files' hashes. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BpeftError } from '../errors.ts';
import { MODEL_HINT, modelSource } from './model-source.ts';

export interface BaseModelIdentity {
  readonly sha256: string;
  /** File or folder name, or `builtin:…`; never a path. */
  readonly name: string;
}

/** @throws {BpeftError} `BPEFT_MODEL_NOT_FOUND`. */
export async function baseModelIdentity(model: string): Promise<BaseModelIdentity> {
  const source = modelSource(model);
  if (source.kind === 'random') {
    return { sha256: createHash('sha256').update(`${model}:${source.seed}`).digest('hex'), name: model };
  }
  const name = model.startsWith('builtin:') ? model : basename(resolve(source.path));
  try {
    if (!(await stat(source.path)).isDirectory()) return { sha256: await fileHash(source.path), name };
    const files = (await readdir(source.path)).filter(isModelFile).sort();
    const whole = createHash('sha256');
    for (const file of files) whole.update(`${await fileHash(join(source.path, file))}  ${file}\n`);
    return { sha256: whole.digest('hex'), name };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpeftError('BPEFT_MODEL_NOT_FOUND', `no model at ${model}: ${reason}`, {
      hint: MODEL_HINT,
      cause,
    });
  }
}

function isModelFile(file: string): boolean {
  return file.endsWith('.safetensors') || file === 'config.json' || file === 'tokenizer.json';
}

async function fileHash(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}
