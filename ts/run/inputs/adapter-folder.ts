/** Where an adapter lies, asked before rows are read and a model is loaded; and whose it is. */

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import type { Adapter, Sigma } from '../../engine/adapter.ts';
import type { CallOptions } from '../../engine/call.ts';
import type { BayesianModel } from '../../engine/model.ts';
import { isPath, shareableName } from '../../engine/model-source.ts';
import { BpeftError } from '../../errors.ts';
import type { Listener } from '../../events/sinks.ts';
import { parseModelId } from '../../hub/model-id.ts';
import { pullAdapter } from '../../hub/pull-adapter.ts';
import type { FoundAdapter } from '../records/adapter-files.ts';
import type { AdapterRecord } from '../records/adapter-record.ts';

/**
 * The folder that a path or a name on the Hub means; what is missing of it is downloaded.
 * @throws {BpeftError} `BPEFT_ADAPTER`: PEFT's configuration is not there; what {@link pullAdapter}
 * throws
 */
export async function adapterFolder(
  flag: '--adapter' | '--init-adapter',
  named: string,
  call: CallOptions,
): Promise<FoundAdapter> {
  if (holdsAdapter(named)) return folderHere(named);
  const id = isPath(named) ? null : parseModelId(named);
  if (id !== null) {
    const { repository, commit, folder } = await pullAdapter(id, call);
    const inside = id.file === null ? '' : `:${id.file}`;
    return { folder, name: `${repository}${inside}`, revision: commit };
  }
  const below = join(named, 'adapter');
  throw new BpeftError('BPEFT_ADAPTER', `${flag}: no ${CONFIG} in ${named}`, {
    hint: holdsAdapter(below)
      ? `that is a run: give ${flag} ${below}`
      : "name a PEFT folder, such as a run's adapter/, or org/name of the Hub",
  });
}

export function folderHere(folder: string): FoundAdapter {
  return { folder, name: shareableName(folder), revision: null };
}

const CONFIG = 'adapter_config.json';

function holdsAdapter(folder: string): boolean {
  return existsSync(join(folder, CONFIG));
}

const BaseName = z.object({ base_model_name_or_path: z.string() });

/** The name of the model that PEFT's configuration says it belongs to; null: it says none. */
export async function baseModelName(folder: string): Promise<string | null> {
  const text = await readFile(join(folder, CONFIG), 'utf8').catch(() => 'null');
  try {
    return BaseName.parse(JSON.parse(text)).base_model_name_or_path;
  } catch {
    return null; // the engine says what is wrong with the file
  }
}

/** An adapter on a model; where it does not fit, the hint says which model it names. */
export async function loadedAdapter(
  { folder, record }: { readonly folder: string; readonly record: AdapterRecord | null },
  model: BayesianModel,
  sigma: Sigma | null,
): Promise<Adapter> {
  try {
    return await model.loadAdapter(folder, { sigma });
  } catch (error) {
    if (!(error instanceof BpeftError) || error.code !== 'BPEFT_ADAPTER') throw error;
    const base = record?.base_model.name ?? (await baseModelName(folder));
    const { name } = model.resolved;
    if (base === null || base === name) throw error;
    const hint = `it names ${base} as its model, and this is ${name}: ${error.hint ?? 'give that one'}`;
    throw new BpeftError(error.code, error.message, { hint, cause: error });
  }
}

/** Warns where an adapter says that it belongs to another model than is loaded. */
export async function tellOtherBase(
  { folder, record }: { readonly folder: string; readonly record: AdapterRecord | null },
  { resolved }: Pick<BayesianModel, 'resolved'>,
  emit: Listener,
): Promise<void> {
  const warn = (message: string) =>
    emit({ type: 'warning', code: 'BPEFT_BASE_MODEL_DIFFERS', message });
  const { name, revision, sha256 } = resolved;
  if (record !== null) {
    const { base_model: base } = record;
    if (base.sha256 !== sha256)
      warn(
        `the adapter was trained on ${base.name}, which is not this ${name} (different SHA-256)`,
      );
    return;
  }
  const base = await baseModelName(folder);
  if (base === null) return;
  const ofHub = revision !== null && parseModelId(base) !== null;
  const own = name.replace(/:.*$/, '');
  if (ofHub && base !== own)
    warn(`the adapter was trained on ${base}, which is not this ${name} (by its name)`);
  if (!ofHub && !areAlike(base, name))
    warn(`the adapter names ${base} as its model, and this is ${name}: take the same weights`);
}

/** Whether two names may be of one model, a folder or a file of it. */
function areAlike(one: string, other: string): boolean {
  const [a, b] = [one, other].map((name) => basename(name).toLowerCase());
  return a === undefined || b === undefined || a.includes(b) || b.includes(a);
}
