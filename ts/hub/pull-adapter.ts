/** Brings an adapter in PEFT's form into the cache: `org/name[@revision][:folder]`. */

import { join } from 'node:path';
import type { CallOptions } from '../engine/call.ts';
import { BpeftError } from '../errors.ts';
import { isAdapterFile } from '../run/records/adapter-files.ts';
import { type Hub, hubFrom } from './environment.ts';
import type { ModelId } from './model-id.ts';
import { type Needs, pullFiles } from './pull-files.ts';

export interface PulledAdapter {
  readonly repository: string;
  readonly commit: string;
  /** With `adapter_config.json` in it. */
  readonly folder: string;
}

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const PICKLE = 'adapter_model.bin';

/**
 * @throws {BpeftError} `BPEFT_ADAPTER`, `BPEFT_UNSUPPORTED`: no such adapter there; what
 * `pullFiles` throws
 */
export async function pullAdapter(
  id: ModelId,
  call: CallOptions = {},
  hub: Hub = hubFrom(process.env),
): Promise<PulledAdapter> {
  const { repository, revision, file } = id;
  const inside = file === null ? '' : `${file}/`;
  const needs: Needs = {
    async *rounds(paths) {
      yield adapterFiles(id, inside, paths);
    },
    isCertain: () => false, // members of an ensemble may be missing
  };
  const { commit, snapshot } = await pullFiles(
    { kind: 'model', repository, revision },
    needs,
    call,
    hub,
  );
  return { repository, commit, folder: join(snapshot, inside) };
}

function adapterFiles({ repository }: ModelId, inside: string, paths: readonly string[]): string[] {
  const own = paths
    .filter((path) => path.startsWith(inside))
    .map((path) => path.slice(inside.length));
  if (own.includes(CONFIG) && own.includes(WEIGHTS)) {
    return own.filter(isAdapterFile).map((path) => inside + path);
  }
  const where = `${repository}${inside === '' ? '' : `, ${inside}`}`;
  if (own.includes(PICKLE)) {
    const message = `${where} holds its adapter only as a pickle (${PICKLE}), a format that can run any program`;
    throw new BpeftError('BPEFT_UNSUPPORTED', message, {
      hint: 'load it with PEFT where you trust it, save_pretrained(folder), and give the folder',
    });
  }
  const folders = paths
    .filter((path) => path.endsWith(`/${CONFIG}`))
    .map((path) => path.slice(0, -CONFIG.length - 1));
  throw new BpeftError('BPEFT_ADAPTER', `${where} holds no ${CONFIG} with ${WEIGHTS}`, {
    hint:
      folders.length === 0
        ? 'it may be a model: give it as --model'
        : `write ${repository}:${folders[0]}; adapters there: ${folders.join(', ')}`,
  });
}
