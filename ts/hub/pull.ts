/** Brings a model of the Hub into the cache, if it is not there. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CallOptions } from '../engine/call.ts';
import { io } from '../run/records/atomic.ts';
import { type Hub, hubFrom } from './environment.ts';
import type { ModelId } from './model-id.ts';
import { INDEX, neededFiles, shardsOf } from './needed-files.ts';
import { type Needs, pullFiles } from './pull-files.ts';

export interface PulledModel {
  readonly repository: string;
  readonly commit: string;
  /** The .gguf file's path in the repository; null: a folder in safetensors. */
  readonly file: string | null;
  /** The snapshot's folder, or the file in it. */
  readonly path: string;
}

/**
 * The model's files in the cache, each as the Hub lists it.
 * @throws {BpeftError} `BPEFT_MODEL_NOT_FOUND`, `BPEFT_UNSUPPORTED`, `BPEFT_USAGE`, `BPEFT_IO`,
 * `BPEFT_ABORTED`
 */
export async function pullModel(
  id: ModelId,
  call: CallOptions = {},
  hub: Hub = hubFrom(process.env),
): Promise<PulledModel> {
  const { repository, revision } = id;
  const needs = modelNeeds(id);
  const { commit, snapshot, paths } = await pullFiles(
    { kind: 'model', repository, revision },
    needs,
    call,
    hub,
  );
  const file = ggufOf(paths);
  return { repository, commit, file, path: file === null ? snapshot : join(snapshot, file) };
}

function modelNeeds(id: ModelId): Needs {
  return {
    async *rounds(paths, snapshot) {
      const needed = neededFiles(id, paths);
      if (needed.kind === 'file') {
        yield [needed.path];
        return;
      }
      yield needed.settings;
      yield needed.weights ?? (await shardsIn(snapshot, id));
    },
    // The one .gguf file of a cache may be one of several.
    isCertain: (chosen) => id.file !== null || ggufOf(chosen) === null,
  };
}

function ggufOf(paths: readonly string[]): string | null {
  return paths.find((path) => path.toLowerCase().endsWith('.gguf')) ?? null;
}

async function shardsIn(snapshot: string, { repository }: ModelId): Promise<string[]> {
  const path = join(snapshot, INDEX);
  return shardsOf(repository, await io(path, () => readFile(path, 'utf8')));
}
