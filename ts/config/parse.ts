/**
 * Settings from several places into one checked object: defaults < run folder < file < flags.
 * Errors speak the language of the place a value came from: `--kl-lr`, `kl_lr` of a file, `klLr` of
 * the library.
 */

import type { z } from 'zod';
import { BpeftError } from '../errors.ts';
import {
  AFTER_TRAINING_METHODS,
  ANSWERING_METHODS,
  DEFAULT_AFTER_TRAINING,
  DEFAULT_METHOD,
  type MethodId,
  TRAINED_METHODS,
} from '../methods/ids.ts';
import { kebabCase, snakeCase } from '../names.ts';
import { nearestName } from '../nearest.ts';
import { DATA_PROTOCOLS } from '../protocol/data-protocol.ts';
import { foreignNameHint } from './foreign-names.ts';
import { SCHEMAS, SETTINGS } from './schema.ts';
import { affects, type CommandName, methodsOf } from './setting.ts';

export type Origin = 'flag' | 'file' | 'option';

/** Settings of one place, by the library's names. */
export interface Layer {
  readonly origin: Origin;
  /** The file, for messages. */
  readonly source?: string;
  /** Whether a file's settings are meant for one run alone, as flags are. */
  readonly isForOne?: boolean;
  readonly values: Readonly<Record<string, unknown>>;
}

const FIELDS = Object.keys(DATA_PROTOCOLS.corrected);

/**
 * Later layers win; undefined and null mean "not set". Refuses names that no command knows.
 * One file may serve several commands and methods: what is not this one's is left out. A flag or an
 * option is meant for this run alone, and refused.
 */
export function mergeLayers(
  command: CommandName,
  layers: readonly Layer[],
  trained?: string,
): Record<string, unknown> {
  const merged: Record<string, unknown> = {};
  const own = SCHEMAS[command].shape;
  const method =
    trained === undefined ? methodOf(command, layers) : known(ANSWERING_METHODS, trained);
  for (const layer of layers) {
    const isShared = layer.origin === 'file' && layer.isForOne !== true;
    const { protocol = merged.protocol } = layer.values;
    // The fields of another preset, such as a run's, are not those of this one.
    if (protocol !== merged.protocol) for (const field of FIELDS) delete merged[field];
    for (const [key, value] of Object.entries(layer.values)) {
      const setting = SETTINGS[key];
      if (!Object.hasOwn(own, key)) {
        if (!isShared || setting === undefined) {
          throw unknownKey(key, layer, Object.keys(own));
        }
      } else if (value !== undefined && value !== null) {
        if (setting === undefined || method === null || affects(setting, command, method))
          merged[key] = value;
        else if (!isShared) {
          const methods = methodsOf(setting, command) ?? [];
          throw otherMethods(key, methods, layer, { method, isOfAdapter: trained !== undefined });
        }
      }
    }
  }
  return merged;
}

/**
 * The merged layers, checked and with their defaults.
 * @param trained what the adapter that answers was trained by, where that is known
 * @throws {BpeftError} `BPEFT_USAGE` for an unknown name, a setting of another method, or a value
 *   that breaks its rule.
 */
export function parseSettings<C extends CommandName>(
  command: C,
  layers: readonly Layer[],
  trained?: string,
): z.output<(typeof SCHEMAS)[C]> {
  const merged = mergeLayers(command, layers, trained);
  const parsed = SCHEMAS[command].safeParse(merged);
  if (parsed.success) return parsed.data as z.output<(typeof SCHEMAS)[C]>;
  const [issue] = parsed.error.issues;
  if (issue === undefined) throw new BpeftError('BPEFT_USAGE', parsed.error.message);
  throw refusedValue(issue, merged, layers);
}

/**
 * The method that the layers ask for; null where they leave it to a run, or ask for none that
 * trains.
 */
function methodOf(command: CommandName, layers: readonly Layer[]): MethodId | null {
  if (!Object.hasOwn(SCHEMAS[command].shape, 'method')) return null;
  const last = (key: string) =>
    layers.findLast(({ values }) => values[key] !== undefined && values[key] !== null)?.values[key];
  if (command === 'bayesianize')
    return known(AFTER_TRAINING_METHODS, last('method') ?? DEFAULT_AFTER_TRAINING);
  const asked = last('method') ?? (last('resume') === true ? null : DEFAULT_METHOD);
  return known(TRAINED_METHODS, asked);
}

/** Null for others: such a method may know any setting. */
function known(methods: readonly MethodId[], name: unknown): MethodId | null {
  return methods.find((method) => method === name) ?? null;
}

/** How the place spells the setting: `--kl-lr`, `kl_lr` or `klLr`. */
export function spelling(key: string, origin: Origin): string {
  if (origin === 'flag') return `--${kebabCase(key)}`;
  return origin === 'file' ? snakeCase(key) : key;
}

const DISJUNCTION = new Intl.ListFormat('en', { type: 'disjunction' });

function otherMethods(
  key: string,
  methods: readonly MethodId[],
  layer: Layer,
  { method, isOfAdapter }: { method: MethodId; isOfAdapter: boolean },
): BpeftError {
  // An adapter is known only when flags have become options; errors say flags as options where they
  // must.
  const name = spelling(key, isOfAdapter ? 'flag' : layer.origin);
  const theirs = DISJUNCTION.format(methods);
  const got = isOfAdapter ? `an adapter of method ${method}` : `method ${method}`;
  const trains = TRAINED_METHODS.some((one) => one === method);
  const others = `${trains ? 'train with' : 'give'} ${spelling('method', layer.origin)} ${methods.join('|')}`;
  return new BpeftError('BPEFT_USAGE', `${name} is a setting of method ${theirs}, got ${got}`, {
    hint: isOfAdapter
      ? 'leave it out: its answers do not depend on it'
      : `leave it out, or ${others}`,
  });
}

function unknownKey(key: string, layer: Layer, known: readonly string[]): BpeftError {
  const name = spelling(key, layer.origin);
  const nearest = nearestName(
    name,
    known.map((candidate) => spelling(candidate, layer.origin)),
  );
  const where = layer.source === undefined ? '' : `${layer.source}: `;
  const foreign = foreignNameHint(key, known, (meant) => spelling(meant, layer.origin));
  return new BpeftError('BPEFT_USAGE', `${where}unknown setting ${JSON.stringify(name)}`, {
    hint: foreign ?? (nearest === null ? undefined : `did you mean ${nearest}?`),
  });
}

function refusedValue(
  issue: z.core.$ZodIssue,
  merged: Readonly<Record<string, unknown>>,
  layers: readonly Layer[],
): BpeftError {
  const [key, ...rest] = issue.path.map(String);
  if (key === undefined) return new BpeftError('BPEFT_USAGE', issue.message);
  const layer = layers.findLast(({ values }) => values[key] !== undefined && values[key] !== null);
  const value = rest.reduce<unknown>(
    (at, step) => (at as Record<string, unknown>)?.[step],
    merged[key],
  );
  const where = layer?.source === undefined ? '' : `${layer.source}: `;
  const name = spelling(key, layer?.origin ?? 'option');
  const nearest =
    issue.code === 'invalid_value' ? nearestName(String(value), issue.values.map(String)) : null;
  return new BpeftError(
    'BPEFT_USAGE',
    `${where}${name} ${rule(issue)}, got ${JSON.stringify(value)}`,
    {
      hint: nearest === null ? undefined : `did you mean ${nearest}?`,
    },
  );
}

const KINDS: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
  object: 'a mapping',
  string: 'a text',
};

function rule(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    case 'invalid_type':
      return `must be ${KINDS[issue.expected] ?? issue.expected}`;
    case 'too_small':
      if (issue.origin === 'array' || issue.origin === 'string') {
        return `must have at least ${issue.minimum} ${issue.origin === 'array' ? 'entries' : 'characters'}`;
      }
      return issue.inclusive
        ? `must be at least ${issue.minimum}`
        : `must be greater than ${issue.minimum}`;
    case 'too_big':
      return issue.inclusive
        ? `must be at most ${issue.maximum}`
        : `must be less than ${issue.maximum}`;
    case 'invalid_union':
      return `must be ${SETTINGS[String(issue.path[0])]?.rule ?? 'another value'}`;
    case 'invalid_format':
      return issue.message;
    default:
      return `is refused (${issue.message})`;
  }
}
