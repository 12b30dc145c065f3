/**
 * What is known about one setting. Flags, help, `docs/cli.md`, the JSON schema, the check of a
 * resumed run, what records keep and what an evaluation takes over from a run all come from here.
 */

import { z } from 'zod';
import type { MethodId } from '../methods/ids.ts';

export const COMMAND_NAMES = ['train', 'bayesianize', 'eval', 'predict', 'demo'] as const;
export type CommandName = (typeof COMMAND_NAMES)[number];

/** Headings of the help text, in order. */
export const GROUPS = [
  'Model and data',
  'Training',
  'BBB',
  'BLoB',
  'C-LoRA',
  'Ensemble',
  'IVON',
  'Laplace',
  'ScalaBL',
  'SWAG',
  'TFB',
  'Evaluation and prediction',
  'Protocol',
  'Run folder',
  'Logging',
] as const;

export interface Facts {
  readonly group: (typeof GROUPS)[number];
  /**
   * Which numbers depend on it. A resumed run may change what does not decide its training, and a
   * finished one what decides nothing.
   */
  readonly decides: 'training' | 'evaluation' | 'nothing';
  /**
   * What a run's records keep: the `value`; its last `name`, where it may be a path, whose place is
   * kept aside; only that `place`; or `nothing`, of what concerns one call.
   */
  readonly recorded: 'value' | 'name' | 'place' | 'nothing';
  /** Whether an evaluation or prediction takes it over from the run. */
  readonly isInherited: boolean;
  /** The part of an adapter's record that keeps it. */
  readonly ofAdapter?: 'prompt' | 'arithmetic';
  /** The methods whose training it affects; all unless given. */
  readonly methods?: readonly MethodId[];
  /** Those of a command, where they differ: an adapter's answers may depend on it, too. */
  readonly methodsIn?: { readonly [C in CommandName]?: readonly MethodId[] };
  /** What help writes for a value, where its kind alone says too little. */
  readonly placeholder?: string;
  /** The values that this version offers, where names of others are known too. */
  readonly offered?: readonly string[];
  /** What a value of several kinds must be, for messages. */
  readonly rule?: string;
}

/** The schema in each command that has the setting. */
export type Schemas = { readonly [C in CommandName]?: z.ZodType };

export interface Setting<In extends Schemas = Schemas> extends Facts {
  readonly what: string;
  readonly in: In;
}

export function setting<In extends Schemas>(what: string, schemas: In, facts: Facts): Setting<In> {
  return { what, in: schemas, ...facts };
}

/** The methods whose runs of a command depend on the setting; undefined: all. */
export function methodsOf(
  { methods, methodsIn }: Pick<Facts, 'methods' | 'methodsIn'>,
  command: CommandName,
): readonly MethodId[] | undefined {
  return methodsIn?.[command] ?? methods;
}

/** Whether a run of that method depends on the setting. */
export function affects(setting: Facts, command: CommandName, method: unknown): boolean {
  return methodsOf(setting, command)?.some((one) => one === method) ?? true;
}

/** The schemas of a command among several settings, by name. */
export type Shape<Settings, C extends CommandName> = {
  [K in keyof Settings as Settings[K] extends { readonly in: { readonly [_ in C]: z.ZodType } }
    ? K
    : never]: Settings[K] extends { readonly in: { readonly [_ in C]: infer S extends z.ZodType } }
    ? S
    : never;
};

/** Their values, with defaults filled in. */
export type SettingsOf<Settings, C extends CommandName> = z.output<z.ZodObject<Shape<Settings, C>>>;

/** The same schema in several commands. */
export function inAll<S extends z.ZodType, C extends CommandName>(
  commands: readonly C[],
  schema: S,
): { readonly [K in C]: S } {
  return Object.fromEntries(commands.map((command) => [command, schema])) as { [K in C]: S };
}

/** A setting of `train` alone that decides its numbers. */
export function ofTraining<S extends z.ZodType>(
  what: string,
  schema: S,
  facts: Pick<Facts, 'group'> & Partial<Facts>,
): Setting<{ readonly train: S }> {
  const usual = { decides: 'training', recorded: 'value', isInherited: false } as const;
  return setting(what, { train: schema }, { ...usual, ...facts });
}

export const WITH_MODEL = ['train', 'bayesianize', 'eval', 'predict'] as const;

export const name = z.string().min(1);
export const count = z.int().positive();
export const positive = z.number().positive();
export const nonnegative = z.number().nonnegative();
/** The noise counts samples in 16 bits: beyond, draws would repeat. */
export const sampleCount = z.int().nonnegative().max(65_536);
export const sampleCounts = z.array(sampleCount).min(1);
