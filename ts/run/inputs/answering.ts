/**
 * How every command that asks a trained adapter begins: where the adapter is, the settings over
 * what its run says, and then the adapter on a model.
 */

import type { z } from 'zod';
import { type Layer, parseSettings } from '../../config/parse.ts';
import type { SCHEMAS } from '../../config/schema.ts';
import type { Adapter } from '../../engine/adapter.ts';
import type { BayesianModel } from '../../engine/model.ts';
import type { Listener } from '../../events/sinks.ts';
import type { Asked, PredictiveRule } from '../../methods/method.ts';
import { predictiveRule, usualMethod } from '../../methods/registry.ts';
import type { DataProtocol, Protocol } from '../../protocol/data-protocol.ts';
import { callOf, type RunContext, withModelOf } from './context.ts';
import { refusePromptSettings, tellOtherPrompts } from './prompt-settings.ts';
import {
  type AdapterPlace,
  findAdapter,
  openAdapter,
  stochasticLayers,
} from './trained-adapter.ts';

type AnsweringCommand = 'bayesianize' | 'eval' | 'predict';

/** What is known before anything is loaded. */
export interface Answering<Config> {
  readonly place: AdapterPlace;
  readonly config: Config;
}

/** @param resolve fills in what the schema of the command leaves open */
export async function answering<C extends AnsweringCommand, Config>(
  command: C,
  options: z.input<(typeof SCHEMAS)[C]>,
  resolve: (settings: z.output<(typeof SCHEMAS)[C]>) => Config,
  context: RunContext,
  emit: Listener,
): Promise<Answering<Config>> {
  const own = ownLayers(withModelOf(options, context, emit), context.fromFile);
  const named: { run?: string | undefined; adapter?: string | undefined } = parseSettings(
    command,
    own,
  );
  const place = await findAdapter({
    ...named,
    datasetIsList: command === 'eval',
    call: callOf(context),
  });
  const layers = [...recordedDataset(command, place), ...place.layers, ...own];
  // What comes of an adapter that is made Bayesian depends on more than the adapter did.
  const trained = command === 'bayesianize' ? undefined : place.record?.method;
  return { place, config: resolve(parseSettings(command, layers, trained)) };
}

/** What a file sets for adapters of several methods, below what is asked of this one. */
function ownLayers(options: object, fromFile: RunContext['fromFile']): Layer[] {
  const layer = (origin: Layer['origin'], isFile: boolean): Layer => {
    const own = Object.entries(options).filter(([key]) => (fromFile?.has(key) ?? false) === isFile);
    return { origin, values: Object.fromEntries(own) };
  };
  return [layer('file', true), layer('option', false)];
}

/**
 * An adapter names the dataset it was trained on; a name of the registry can be read again as it
 * stands.
 */
function recordedDataset(command: AnsweringCommand, { record }: AdapterPlace): Layer[] {
  if (record === null || command === 'predict') return [];
  const dataset = command === 'eval' ? [record.dataset] : record.dataset;
  return [{ origin: 'file', values: { dataset } }];
}

/** An adapter that answers; disposing of it leaves the model. */
export interface OpenAdapter extends AsyncDisposable {
  readonly adapter: Adapter;
  /** Plain PEFT and the reference's checkpoints name none: then what such an adapter usually is. */
  readonly method: string;
  readonly rule: PredictiveRule;
  /** Places that sample, from the end; null = all. */
  readonly stochasticLayers: number | null;
}

export async function openAnswering(
  { place, config }: Answering<AnsweringSettings>,
  model: BayesianModel,
  emit: Listener,
): Promise<OpenAdapter> {
  refusePromptSettings(config, model.info);
  tellOtherPrompts(config, place.record, emit);
  const adapter = await openAdapter(place, model, { sigma: config.sigma, emit });
  try {
    const method = place.record?.method ?? usualMethod(adapter.info);
    return {
      adapter,
      method,
      rule: predictiveRule(method, adapter.info, config),
      stochasticLayers: stochasticLayers(config.stochasticLayers, model, adapter),
      [Symbol.asyncDispose]: () => adapter.dispose(),
    };
  } catch (error) {
    await adapter.dispose();
    throw error;
  }
}

type AnsweringSettings = Asked &
  DataProtocol & {
    readonly protocol: Protocol;
    readonly sigma?: Parameters<typeof openAdapter>[2]['sigma'];
    readonly stochasticLayers: string;
  };
