/** Every method by its id. */

import type { SettingsOf } from '../config/setting.ts';
import type { AdapterInfo } from '../engine/adapter.ts';
import { BpeftError } from '../errors.ts';
import { BBB, BBB_SETTINGS } from './bbb.ts';
import { BLOB, BLOB_SETTINGS, type BlobSettings, resolveBlob } from './blob.ts';
import { C_LORA, C_LORA_SETTINGS } from './c-lora.ts';
import { ENSEMBLE, ENSEMBLE_SETTINGS } from './ensemble.ts';
import { AFTER_TRAINING_METHODS, type AfterTrainingId, type MethodId } from './ids.ts';
import { IVON, IVON_SETTINGS } from './ivon.ts';
import { LAPLACE, LAPLACE_SETTINGS } from './laplace.ts';
import { MAP } from './map.ts';
import { MC_DROPOUT } from './mc-dropout.ts';
import type { Asked, Method, PredictiveRule } from './method.ts';
import { MLE } from './mle.ts';
import { SCALABL, SCALABL_SETTINGS } from './scalabl.ts';
import { SWAG, SWAG_SETTINGS } from './swag.ts';
import { TFB_SETTINGS } from './tfb.ts';

/** Settings that belong to methods, by the library's names. */
export const METHOD_SETTINGS = {
  ...BBB_SETTINGS,
  ...BLOB_SETTINGS,
  ...C_LORA_SETTINGS,
  ...ENSEMBLE_SETTINGS,
  ...IVON_SETTINGS,
  ...LAPLACE_SETTINGS,
  ...SCALABL_SETTINGS,
  ...SWAG_SETTINGS,
  ...TFB_SETTINGS,
};

/** What every method finds among a run's settings. */
export type MethodSettings = SettingsOf<typeof METHOD_SETTINGS, 'train'> &
  BlobSettings & {
    readonly loraDropout: number;
  };

const IMPLEMENTED: readonly Method<MethodSettings>[] = [
  ...[MLE, MAP, MC_DROPOUT, ENSEMBLE, BBB, BLOB, IVON, SWAG, SCALABL, C_LORA],
];

/** Those whose answers are drawn in a way of their own. */
const ANSWERING: readonly Pick<Method<MethodSettings>, 'id' | 'predictive'>[] = [
  ...IMPLEMENTED,
  LAPLACE,
];

/** One number of an evaluation, on top of any method. */
const TEMPERATURE: MethodId = 'temperature';

/** Whether `train` offers it; the others make a trained adapter Bayesian. */
export function trains(id: string): boolean {
  return IMPLEMENTED.some((method) => method.id === id);
}

/** @throws {BpeftError} `BPEFT_USAGE`: it does not train. */
export function trainingMethod(id: MethodId): Method<MethodSettings> {
  const found = IMPLEMENTED.find((method) => method.id === id);
  if (found !== undefined) return found;
  if (isAfterTraining(id)) {
    const message = `method ${id} makes a trained adapter Bayesian; train does not offer it`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: `train with --method ${MLE.id}, then bpeft bayesianize --method ${id}`,
    });
  }
  throw noMethod();
}

/** Fills in the defaults that depend on the method or the protocol. */
export function resolveMethodSettings(
  settings: Parameters<typeof resolveBlob>[0] & {
    readonly method: MethodId;
    readonly weightDecay?: number | undefined;
  },
) {
  const usual = trainingMethod(settings.method).weightDecay?.(settings.protocol) ?? 0;
  return { ...resolveBlob(settings), weightDecay: settings.weightDecay ?? usual };
}

/** Whether it makes a trained adapter Bayesian, and trains nothing itself. */
function isAfterTraining(id: string): id is AfterTrainingId {
  return AFTER_TRAINING_METHODS.some((known) => known === id);
}

/** @throws {BpeftError} `BPEFT_USAGE`: `bayesianize` does not offer it. */
export function afterTraining(id: string): AfterTrainingId {
  if (isAfterTraining(id)) return id;
  if (id === TEMPERATURE) throw noMethod();
  const message = `method ${id} does not make a trained adapter Bayesian`;
  throw new BpeftError('BPEFT_USAGE', message, {
    hint: `available: ${AFTER_TRAINING_METHODS.join(', ')}`,
  });
}

function noMethod(): BpeftError {
  const message = `method ${TEMPERATURE} is no method of its own: it scales the answers of any`;
  return new BpeftError('BPEFT_USAGE', message, {
    hint: 'give --temperature fit to train or eval',
  });
}

/** What an adapter counts as where nothing names its method. */
export function usualMethod({
  bayesian,
  members,
  priorPrecision,
  over,
}: Pick<AdapterInfo, 'bayesian' | 'members' | 'priorPrecision' | 'over'>): string {
  if (priorPrecision !== null) return LAPLACE.id;
  if (over === 'scales') return SCALABL.id;
  if (over === 'context') return C_LORA.id;
  if (over === 'a-and-b') return BBB.id;
  if (bayesian) return BLOB.id;
  return members > 1 ? ENSEMBLE.id : MLE.id;
}

/** How answers are drawn from an adapter whose record names `method`. */
export function predictiveRule(
  method: string | undefined,
  adapter: AdapterInfo,
  asked: Asked,
): PredictiveRule {
  const id = method ?? usualMethod(adapter);
  return (ANSWERING.find((known) => known.id === id) ?? MLE).predictive(adapter, asked);
}
