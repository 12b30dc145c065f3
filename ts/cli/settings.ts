/** Flags from the settings' schema, and back: what the command line and a config file say. */

import { type Command, Option } from 'commander';
import { readConfigFile } from '../config/file.ts';
import { type Layer, mergeLayers, parseSettings } from '../config/parse.ts';
import { type OwnSetting, settingsOf } from '../config/schema.ts';
import type { CommandName } from '../config/setting.ts';
import {
  defaultOf,
  isList,
  isSwitchSchema,
  longChoice,
  placeholder,
  valueFromText,
} from '../config/text.ts';
import type { CallOptions } from '../engine/call.ts';
import type { Sink } from '../events/sinks.ts';
import { consoleSink, warningSink } from '../logging/console.ts';
import { downloadLine } from '../logging/download-line.ts';
import { kebabCase } from '../names.ts';
import type { Output } from './output.ts';

/**
 * Adds every setting of the command as a flag, and the flags that each command has.
 * @param keys of them only these, without a file
 */
export function addSettings(
  command: Command,
  name: CommandName,
  keys?: ReadonlySet<string>,
): Command {
  for (const own of settingsOf(name)) {
    const { key, schema, setting } = own;
    if (keys?.has(key) === false) continue;
    const flag = `--${kebabCase(key)}`;
    const isSwitch = isSwitchSchema(schema);
    const value = isSwitch ? '' : ` <${placeholder(schema, setting.placeholder)}>`;
    const option = new Option(`${flag}${value}`, description(own)).helpGroup(`${setting.group}:`);
    if (!isSwitch) option.argParser((text) => valueFromText(schema, text));
    command.addOption(option);
  }
  if (keys !== undefined) return addOutputFlags(command);
  command.addOption(
    new Option('--config <file>', 'settings from a .json or .yaml file; flags win').helpGroup(
      'Output:',
    ),
  );
  return addOutputFlags(command);
}

export function addOutputFlags(command: Command): Command {
  return command
    .addOption(new Option('--json', 'one JSON document on standard output').helpGroup('Output:'))
    .addOption(new Option('--quiet', 'no progress, only warnings').helpGroup('Output:'));
}

export interface Invocation {
  /** What file and flags set; defaults are not filled in. */
  readonly values: Record<string, unknown>;
  /** The names of those that a file has set and no flag. */
  readonly fromFile: ReadonlySet<string>;
  readonly isJson: boolean;
  /** Then `onEvent` shows warnings alone. */
  readonly isQuiet: boolean;
  readonly onEvent: Sink;
  readonly onProgress: CallOptions['onProgress'];
}

/**
 * File and flags, checked here where it is known which of them said what.
 * @throws {BpeftError} `BPEFT_USAGE`
 */
export async function invocation(
  name: CommandName,
  flags: Readonly<Record<string, unknown>>,
  output: Output,
): Promise<Invocation> {
  const { config, json, quiet, ...values } = flags;
  const layers: Layer[] = [{ origin: 'flag', values }];
  const sweep = name === 'train' ? await sweepParameters() : null;
  if (sweep !== null) layers.unshift(sweep);
  if (typeof config === 'string') layers.unshift(await readConfigFile(config));
  parseSettings(name, layers);
  const merged = mergeLayers(name, layers);
  const fromFile = Object.keys(merged).filter((key) => (values[key] ?? undefined) === undefined);
  return {
    values: merged,
    fromFile: new Set(fromFile),
    isJson: json === true,
    isQuiet: quiet === true,
    onEvent:
      quiet === true
        ? warningSink(output.stderr)
        : consoleSink(output.stderr, { isPlain: json === true }),
    onProgress: progressLine(output, { json, quiet }),
  };
}

/** What shows downloads; undefined: nothing does. */
export function progressLine(
  { stderr }: Output,
  { json, quiet }: { readonly json?: unknown; readonly quiet?: unknown },
): CallOptions['onProgress'] {
  return quiet === true ? undefined : downloadLine(stderr, { isPlain: json === true });
}

/** What `wandb agent` chose for this run. */
async function sweepParameters(): Promise<Layer | null> {
  if (process.env.WANDB_SWEEP_PARAM_PATH === undefined) return null;
  return (await import('../wandb/sweep.ts')).sweepLayer(process.env);
}

function description({ schema, setting }: OwnSetting): string {
  const value = defaultOf(schema);
  const known = longChoice(schema);
  const choice = setting.offered?.some((one) => known.includes(one)) ? setting.offered : known;
  const values =
    choice.length === 0 ? '' : `; ${isList(schema) ? 'any' : 'one'} of ${choice.join(', ')}`;
  const byDefault = value === undefined || value === false ? '' : ` (default: ${String(value)})`;
  return `${schema.description}${values}${byDefault}`;
}
