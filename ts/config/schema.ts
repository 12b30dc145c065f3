/**
 * Every setting, and the schema of each command's: types, flags, defaults and the JSON schema come
 * from here. A default that depends on the method or the protocol is left open here and filled in
 * by `resolve.ts`.
 */

import { z } from 'zod';
import { METHOD_SETTINGS } from '../methods/registry.ts';
import { COMMAND_NAMES, type CommandName, GROUPS, type Setting, type Shape } from './setting.ts';
import { LOGGING } from './settings/logging.ts';
import { MODEL_AND_DATA } from './settings/model-and-data.ts';
import { PREDICTION } from './settings/prediction.ts';
import { PROTOCOL } from './settings/protocol.ts';
import { RUN_FOLDER } from './settings/run-folder.ts';
import { TRAINING } from './settings/training.ts';
import { descriptionOf } from './text.ts';

const ALL = {
  ...MODEL_AND_DATA,
  ...TRAINING,
  ...METHOD_SETTINGS,
  ...PREDICTION,
  ...PROTOCOL,
  ...RUN_FOLDER,
  ...LOGGING,
};

/** By the library's names. */
export const SETTINGS: Readonly<Record<string, Setting>> = ALL;

/** The settings of a command with their schema in it, in the order of the help text. */
export function settingsOf(command: CommandName): readonly OwnSetting[] {
  const own = Object.entries(SETTINGS).flatMap(([key, setting]) => {
    const schema = setting.in[command];
    if (schema === undefined) return [];
    return [{ key, setting, schema: schema.describe(descriptionOf(schema) ?? setting.what) }];
  });
  const place = ({ setting }: OwnSetting) => GROUPS.indexOf(setting.group);
  return own.sort((a, b) => place(a) - place(b));
}

export interface OwnSetting {
  /** The library's name. */
  readonly key: string;
  readonly setting: Setting;
  readonly schema: z.ZodType;
}

function schemaOf(command: CommandName): z.ZodObject {
  return z.strictObject(
    Object.fromEntries(settingsOf(command).map(({ key, schema }) => [key, schema])),
  );
}

export const SCHEMAS = Object.fromEntries(
  COMMAND_NAMES.map((command) => [command, schemaOf(command)]),
) as {
  readonly [C in CommandName]: z.ZodObject<Shape<typeof ALL, C>, z.core.$strict>;
};

export type TrainSettings = z.output<(typeof SCHEMAS)['train']>;
export type EvalSettings = z.output<(typeof SCHEMAS)['eval']>;
export type BayesianizeSettings = z.output<(typeof SCHEMAS)['bayesianize']>;
export type PredictSettings = z.output<(typeof SCHEMAS)['predict']>;

// Interfaces, so that signatures and documentation keep their names.

/**
 * What {@link train} takes; everything but `model` and `dataset` has a default. Each is a flag of
 * `bpeft train` (docs/cli.md): `--max-seq-len` is `maxSeqLen`.
 */
export interface TrainOptions extends z.input<(typeof SCHEMAS)['train']> {}
/** What {@link evaluate} takes: the flags of `bpeft eval` (docs/cli.md). */
export interface EvaluateOptions extends z.input<(typeof SCHEMAS)['eval']> {}
/** What {@link bayesianize} takes: the flags of `bpeft bayesianize` (docs/cli.md). */
export interface BayesianizeOptions extends z.input<(typeof SCHEMAS)['bayesianize']> {}
/** What {@link predict} takes: the flags of `bpeft predict` (docs/cli.md). */
export interface PredictOptions extends z.input<(typeof SCHEMAS)['predict']> {}
/** What {@link demo} takes: the flags of `bpeft demo` (docs/cli.md). */
export interface DemoOptions extends z.input<(typeof SCHEMAS)['demo']> {}
