/**
 * The adapter to evaluate: of a run, or of a folder beside a model; and the settings that come with
 * it.
 */

import type { Layer } from '../../config/parse.ts';
import { type EvalSettings, SETTINGS } from '../../config/schema.ts';
import type { Adapter } from '../../engine/adapter.ts';
import type { CallOptions } from '../../engine/call.ts';
import type { BayesianModel } from '../../engine/model.ts';
import { BpeftError } from '../../errors.ts';
import type { Listener } from '../../events/sinks.ts';
import type { FoundAdapter } from '../records/adapter-files.ts';
import {
  type AdapterRecord,
  readAdapterRecord,
  recordSettings,
} from '../records/adapter-record.ts';
import { RunFolder } from '../records/run-folder.ts';
import { adapterFolder, folderHere, loadedAdapter, tellOtherBase } from './adapter-folder.ts';

export interface AdapterPlace extends FoundAdapter {
  readonly record: AdapterRecord | null;
  /** What the run and the adapter say, below file and flags. */
  readonly layers: readonly Layer[];
}

/**
 * @throws {BpeftError} `BPEFT_USAGE`: neither --run nor --adapter, or a run without an adapter;
 * `BPEFT_ADAPTER`.
 */
export async function findAdapter(options: {
  run?: string | undefined;
  adapter?: string | undefined;
  datasetIsList: boolean;
  call: CallOptions;
}): Promise<AdapterPlace> {
  if (options.run !== undefined && options.adapter !== undefined) {
    throw new BpeftError('BPEFT_USAGE', '--run and --adapter exclude each other');
  }
  if (options.adapter !== undefined) {
    const found = await adapterFolder('--adapter', options.adapter, options.call);
    const record = await readAdapterRecord(found.folder);
    const layers: Layer[] =
      record === null ? [] : [{ origin: 'file', values: recordSettings(record) }];
    return { ...found, record, layers };
  }
  if (options.run === undefined) {
    throw new BpeftError('BPEFT_USAGE', 'an adapter is required', {
      hint: 'give --run DIR, or --model and --adapter DIR|org/name',
    });
  }
  const run = new RunFolder(options.run);
  const settings = await run.settings();
  const record = await readAdapterRecord(run.adapter);
  if (record === null) {
    throw new BpeftError('BPEFT_USAGE', `${run.path} holds no finished adapter`, {
      hint: `let the training finish: bpeft train --out ${run.path} --resume`,
    });
  }
  const values = Object.fromEntries(
    Object.entries(settings.values).filter(
      ([key, value]) => SETTINGS[key]?.isInherited === true && value !== undefined,
    ),
  );
  if (options.datasetIsList && typeof values.dataset === 'string')
    values.dataset = [values.dataset];
  const labels: Layer[] =
    record.labels === null ? [] : [{ origin: 'file', values: { labels: record.labels } }];
  return { ...folderHere(run.adapter), record, layers: [{ ...settings, values }, ...labels] };
}

export async function openAdapter(
  place: AdapterPlace,
  model: BayesianModel,
  run: { sigma?: EvalSettings['sigma'] | undefined; emit: Listener },
): Promise<Adapter> {
  const { record } = place;
  await tellOtherBase(place, model, run.emit);
  const trained = record?.arithmetic?.quantize ?? model.info.quantize;
  if (trained !== model.info.quantize) {
    const message = `the adapter was trained with quantize ${trained}, this model has ${model.info.quantize}: probabilities may differ`;
    run.emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  }
  const adapter = await loadedAdapter(place, model, run.sigma ?? record?.sigma ?? null);
  const saved = record?.sigma ?? run.sigma;
  if (run.sigma !== undefined && run.sigma !== saved) {
    const message = `${place.folder}: its rho was saved for sigma ${saved}; read for ${run.sigma}, the answers are those of another posterior`;
    run.emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  }
  const members = record?.members ?? adapter.info.members;
  if (members !== adapter.info.members) {
    const message = `${place.folder}: the adapter must have ${members} members, got ${adapter.info.members}`;
    throw new BpeftError('BPEFT_ADAPTER', message, {
      hint: 'copy the folder whole, with its adapter_1, adapter_2 and so on',
    });
  }
  const { sigma } = adapter.info;
  const isOpen = sigma === 'square' || sigma === 'softplus';
  const isAssumed = isOpen && record === null && run.sigma === undefined;
  const assumption =
    'no bpeft.json beside the adapter: sigma = rho^2 is assumed (--sigma says otherwise)';
  for (const message of [...adapter.info.notices, ...(isAssumed ? [assumption] : [])]) {
    run.emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  }
  return adapter;
}

/**
 * `all` → null, `last:K` → K of the model's places, which are its layers and the head.
 * @throws {BpeftError} `BPEFT_USAGE`: the model has fewer places, or the adapter none among these.
 */
export function stochasticLayers(
  text: string,
  model: BayesianModel,
  adapter: Adapter,
): number | null {
  if (text === 'all') return null;
  const { numLayers } = model.info;
  const asked = Number(text.slice('last:'.length));
  if (asked > numLayers + 1) {
    const places = `the model has ${numLayers + 1} places, ${numLayers} layers and the head`;
    throw new BpeftError('BPEFT_USAGE', `--stochastic-layers ${text}: ${places}`, {
      hint: `give all, or last:K with K from 1 to ${numLayers + 1}`,
    });
  }
  const { bayesian, targetModules } = adapter.info;
  const head = model.info.kind === 'encoder' ? ['dense', 'classifier'] : ['lm_head'];
  if (asked === 1 && bayesian && !head.some((name) => targetModules.includes(name))) {
    const message = `--stochastic-layers last:1 is the head, and this adapter has none on ${head.join(' or ')}: nothing would be sampled`;
    throw new BpeftError('BPEFT_USAGE', message, { hint: 'give last:2 or more, or all' });
  }
  return asked;
}
