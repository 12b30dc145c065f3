/**
 * What a schema cannot know: defaults that depend on the method or the protocol, and settings that
 * exclude each other or that this version does not offer yet.
 */

import { namedDevice } from '../engine/device.ts';
import { MODEL_HINT } from '../engine/model-source.ts';
import { BpeftError } from '../errors.ts';
import type { AfterTrainingId } from '../methods/ids.ts';
import { afterTraining, resolveMethodSettings, trainingMethod } from '../methods/registry.ts';
import { DATA_PROTOCOLS, type DataProtocol, type Protocol } from '../protocol/data-protocol.ts';
import type {
  BayesianizeSettings,
  EvalSettings,
  PredictSettings,
  TrainSettings,
} from './schema.ts';

/** Settings whose protocol fields are set, and that this version offers. */
type Resolved<Settings> = Omit<Settings, keyof DataProtocol> &
  DataProtocol & {
    readonly model: string;
    readonly evalBatchSize: number;
  };

/** All of a training run's settings; nothing is left open. */
export type TrainConfig = Resolved<TrainSettings> & {
  readonly dataset: string;
  readonly klForm: 'exact' | 'reference';
  readonly weightDecay: number;
  readonly out: string;
};
export type EvalConfig = Resolved<EvalSettings> & { readonly dataset: readonly string[] };
export type BayesianizeConfig = Resolved<BayesianizeSettings> & {
  readonly method: AfterTrainingId;
  readonly dataset: string;
  readonly out: string;
};
export type PredictConfig = Resolved<PredictSettings>;

const EVAL_BATCH_SIZE = 16;

export function resolveTrain(settings: TrainSettings): TrainConfig {
  const method = trainingMethod(settings.method); // told before anything else
  namedDevice(settings.device); // a wrong one is told before anything is read
  if (settings.resume && settings.overwrite) {
    throw new BpeftError('BPEFT_USAGE', '--resume and --overwrite exclude each other');
  }
  const model = required(settings.model, 'model', MODEL_HINT);
  const dataset = required(settings.dataset, 'dataset', 'bpeft datasets list shows the names');
  const bySize = settings.protocol === 'reference' ? settings.batchSize : EVAL_BATCH_SIZE;
  const open = settings.maxSteps === undefined && settings.epochs === undefined;
  const config = {
    ...settings,
    ...dataProtocol(settings),
    ...(open ? { epochs: 3 } : {}),
    model,
    dataset,
    ...resolveMethodSettings(settings),
    evalBatchSize: settings.evalBatchSize ?? bySize,
    out: settings.out ?? `runs/${settings.method}-${fileName(dataset)}-seed${settings.seed}`,
  };
  method.check?.(config);
  return config;
}

export function resolveEval(settings: EvalSettings): EvalConfig {
  namedDevice(settings.device); // a wrong one is told before anything is read
  return {
    ...settings,
    ...dataProtocol(settings),
    model: required(settings.model, 'model', MODEL_HINT),
    dataset: required(settings.dataset, 'dataset', 'bpeft datasets list shows the names'),
    evalBatchSize:
      settings.evalBatchSize ?? (settings.protocol === 'reference' ? 4 : EVAL_BATCH_SIZE),
  };
}

export function resolveBayesianize(settings: BayesianizeSettings): BayesianizeConfig {
  const method = afterTraining(settings.method); // told before anything else
  namedDevice(settings.device); // a wrong one is told before anything is read
  return {
    ...settings,
    ...dataProtocol(settings),
    method,
    model: required(settings.model, 'model', MODEL_HINT),
    dataset: required(settings.dataset, 'dataset', 'bpeft datasets list shows the names'),
    out: required(settings.out, 'out', 'name a folder for the Bayesian adapter'),
    evalBatchSize: settings.evalBatchSize ?? EVAL_BATCH_SIZE,
  };
}

export function resolvePredict(settings: PredictSettings): PredictConfig {
  namedDevice(settings.device); // a wrong one is told before anything is read
  return {
    ...settings,
    ...dataProtocol(settings),
    model: required(settings.model, 'model', MODEL_HINT),
    evalBatchSize: settings.evalBatchSize ?? EVAL_BATCH_SIZE,
  };
}

/** A dataset's name or path as part of a file name: `./data/Mine.jsonl` → `mine`. */
export function fileName(dataset: string): string {
  const last = dataset.replace(/\/+$/, '').split('/').at(-1) ?? dataset;
  return last
    .replace(/\.(jsonl|csv)$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9_]+/g, '-');
}

type Open<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** The preset, with what is set alone. */
function dataProtocol(settings: Open<DataProtocol> & { protocol: Protocol }): DataProtocol {
  const preset = DATA_PROTOCOLS[settings.protocol];
  const keys = Object.keys(preset) as (keyof DataProtocol)[];
  const resolved: DataProtocol = {
    ...preset,
    ...Object.fromEntries(keys.map((key) => [key, settings[key] ?? preset[key]])),
  };
  if (resolved.addSpace && resolved.labelTokens !== 'last') {
    const message = `--add-space is of --label-tokens last, got ${resolved.labelTokens}`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: 'leave it out; a label that continues the prompt has its space',
    });
  }
  return resolved;
}

function required<T>(value: T | undefined, name: string, hint: string): T {
  if (value === undefined) throw new BpeftError('BPEFT_USAGE', `--${name} is required`, { hint });
  return value;
}
