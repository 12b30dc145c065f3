/** Every method by its id: those that this version trains, and those that have a name already. */

import { BpeftError } from '../errors.ts';
import { BLOB, BLOB_SETTINGS, type BlobSettings, resolveBlob } from './blob.ts';
import type { Method } from './method.ts';
import { MLE } from './mle.ts';

export const METHODS = [
  'mle',
  'map',
  'mc-dropout',
  'ensemble',
  'bbb',
  'blob',
  'laplace',
  'tfb',
  'temperature',
  'scalabl',
  'ivon',
  'swag',
] as const;
export type MethodId = (typeof METHODS)[number];

export const DEFAULT_METHOD: MethodId = 'blob';

/** Settings that belong to methods, by the library's names. */
export const METHOD_SETTINGS = { ...BLOB_SETTINGS };

/** Headings of the help text, and the settings under each. */
export const METHOD_GROUPS: readonly (readonly [heading: string, keys: readonly string[]])[] = [
  ['BLoB', Object.keys(BLOB_SETTINGS)],
];

/** What every method finds among a run's settings. */
export type MethodSettings = BlobSettings;

/** Fills in the defaults that depend on the protocol. */
export function resolveMethodSettings(settings: Parameters<typeof resolveBlob>[0]) {
  return resolveBlob(settings);
}

const IMPLEMENTED: readonly Method<MethodSettings>[] = [MLE, BLOB];

/** They make a trained adapter Bayesian, and train nothing themselves. */
const AFTER_TRAINING: readonly MethodId[] = ['laplace', 'tfb', 'temperature'];

/** @throws {BpeftError} `BPEFT_UNSUPPORTED`: not in this version; `BPEFT_USAGE`: it does not train. */
export function trainingMethod(id: MethodId): Method<MethodSettings> {
  const found = IMPLEMENTED.find((method) => method.id === id);
  if (found !== undefined) return found;
  if (AFTER_TRAINING.includes(id)) {
    const message = `method ${id} makes a trained adapter Bayesian; train does not offer it`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: `train with --method ${MLE.id}, then bpeft bayesianize --method ${id} (not available yet)`,
    });
  }
  throw new BpeftError('BPEFT_UNSUPPORTED', `method ${id} is not available yet`, {
    hint: `available: ${IMPLEMENTED.map((method) => method.id).join(', ')}`,
  });
}

/** What adapters of such a kind count as where nothing names their method. */
export function usualMethod(hasPosterior: boolean): string {
  return hasPosterior ? BLOB.id : MLE.id;
}
