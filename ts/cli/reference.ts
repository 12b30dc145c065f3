/** The command line as a page: `docs/cli.md`, from the same definitions that parse it. */

import type { Command, Option } from 'commander';
import { z } from 'zod';
import { type OwnSetting, settingsOf } from '../config/schema.ts';
import { COMMAND_NAMES } from '../config/setting.ts';
import { defaultOf, innerSchema } from '../config/text.ts';

const HEAD = `# Command line

Written by \`npm run docs\` from the program itself; do not edit. Every command also takes \`-h\` and \`--help\`.

- A flag \`--kl-lr\` is \`kl_lr\` in a config file (\`--config\`) and \`klLr\` in the library: one name, three spellings.
  Flags win over the file, the file over the run folder or the adapter's \`bpeft.json\`, these over the defaults.
- A list is written with commas: \`--samples 10,0\`. A value that this version does not offer yet is refused with
  \`BPEFT_UNSUPPORTED\`, and the hint names those it has.
- \`--json\` writes one JSON document to standard output and nothing else; a failure is \`{"error": {code, message, hint}}\`.
  Text for people goes to standard error. The codes are in [troubleshooting.md](troubleshooting.md).
- Exit codes: 0 done, 1 failed, 2 bad usage or input, 130 interrupted.
`;

const ENVIRONMENT = `## Environment

| variable | what |
| --- | --- |
| \`BPEFT_DEVICE\` | the device where \`--device\` is auto |
| \`BPEFT_CUDA_KERNELS\` | the folder of the GPUs' kernels, instead of \`kernels\` beside the engine's file |
| \`BPEFT_CUDA_ARENA\` | \`0\`: every array of a GPU's is the driver's own, for tools that watch memory, such as compute-sanitizer |
| \`BPEFT_PROBE_SECONDS\` | how long the process that tries a GPU may take before its driver counts as broken (60) |
| \`BPEFT_NUM_THREADS\` | worker threads where \`--threads\` is not given |
| \`BPEFT_DISPATCH\` | instructions that the kernels use (\`avx512bf16\`, \`avx512\`, \`avxvnni\`, \`avx2\`, \`neon\`, \`portable\`; default: the fastest of this machine) |
| \`BPEFT_NATIVE_PATH\` | the engine's file, instead of the one that belongs to the package |
| \`HF_TOKEN\`, \`HF_HOME\`, … | models by name: [models.md](models.md) |
| \`WANDB_MODE\`, … | Weights & Biases: [logging.md](logging.md) |
| \`BPEFT_LOG\` | \`debug\` prints the stack and the cause of an error |
`;

/** @param program every command with its options, as `wholeProgram` gives it */
export function cliReference(program: Command): string {
  const commands = leaves(program, []).map(({ command, path }) => section(command, path));
  return [HEAD, ...commands, ENVIRONMENT].join('\n');
}

interface Leaf {
  readonly command: Command;
  /** Without the program's name. */
  readonly path: readonly string[];
}

/** The commands that do something: `train`, `datasets list`, … */
function leaves(command: Command, path: readonly string[]): readonly Leaf[] {
  if (command.commands.length === 0) return [{ command, path }];
  return command.commands.flatMap((one) => leaves(one, [...path, one.name()]));
}

function section(command: Command, path: readonly string[]): string {
  const positional = command.registeredArguments.map(
    (argument) => `- ${code(`<${argument.name()}>`)}: ${cell(argument.description)}`,
  );
  const usage = [
    'bpeft',
    ...path,
    ...command.registeredArguments.map((argument) => `<${argument.name()}>`),
  ];
  return [
    `## bpeft ${path.join(' ')}`,
    '',
    `${code([...usage, '[options]'].join(' '))}: ${cell(command.description())}.`,
    '',
    ...(positional.length === 0 ? [] : [...positional, '']),
    ...groups(command.options).flatMap(([heading, options]) => [
      ...(heading === null ? [] : [`**${heading}**`, '']),
      '| flag | values | default | what |',
      '| --- | --- | --- | --- |',
      ...options.map((option) => row(option, path)),
      '',
    ]),
  ].join('\n');
}

/**
 * In the order in which the headings first come up, as in the help text; those without a heading
 * first.
 */
function groups(
  options: readonly Option[],
): readonly (readonly [string | null, readonly Option[]])[] {
  const found = new Map<string | null, Option[]>();
  if (options.some(({ helpGroupHeading }) => helpGroupHeading === undefined)) found.set(null, []);
  for (const option of options) {
    const heading = option.helpGroupHeading?.replace(/:$/, '') ?? null;
    found.set(heading, [...(found.get(heading) ?? []), option]);
  }
  return [...found];
}

function row(option: Option, path: readonly string[]): string {
  const own = settingOf(option, path);
  const byDefault = own === null ? option.defaultValue : defaultOf(own.schema);
  return `| ${[
    code(option.long ?? option.flags),
    own === null ? valuesOfFlag(option) : valuesOf(own.schema, own.setting.offered),
    byDefault === undefined || byDefault === false ? '' : code(String(byDefault)),
    cell(own?.schema.description ?? option.description),
  ].join(' | ')} |`;
}

/** Null for a flag that is no setting, such as `--json`. */
function settingOf(option: Option, path: readonly string[]): OwnSetting | null {
  const command = COMMAND_NAMES.find((one) => one === path[0]);
  if (path.length !== 1 || command === undefined) return null;
  return settingsOf(command).find(({ key }) => key === option.attributeName()) ?? null;
}

function valuesOfFlag(option: Option): string {
  const placeholder = /<(.+)>/.exec(option.flags)?.[1];
  return placeholder === undefined ? '' : cell(placeholder);
}

function valuesOf(schema: z.core.$ZodType, offered?: readonly string[]): string {
  const inner = innerSchema(schema);
  if (inner instanceof z.ZodBoolean) return '';
  if (inner instanceof z.ZodEnum) {
    return (offered ?? inner.options).map((value) => code(String(value))).join(', ');
  }
  if (inner instanceof z.ZodArray) return `list of ${valuesOf(inner.element)}`;
  if (inner instanceof z.ZodNumber) return numbers(inner);
  if (inner instanceof z.ZodUnion)
    return inner.options.map((option) => valuesOf(option)).join(' or ');
  if (inner instanceof z.ZodLiteral)
    return [...inner.values].map((value) => code(String(value))).join(', ');
  return 'text';
}

/** `whole number ≥ 1`, `number > 0`, `number from 0 to 1`. */
function numbers(schema: z.ZodNumber): string {
  const { minimum, exclusiveMinimum, maximum, exclusiveMaximum, type } = z.toJSONSchema(schema, {
    io: 'input',
  });
  const kind = type === 'integer' ? 'whole number' : 'number';
  // A whole number above 0 is one from 1; beyond 2^53 there is nothing to say.
  const least = type === 'integer' && exclusiveMinimum === 0 ? 1 : minimum;
  const bounds = [
    least === undefined || least <= Number.MIN_SAFE_INTEGER ? '' : `≥ ${least}`,
    exclusiveMinimum === undefined || least === 1 ? '' : `> ${exclusiveMinimum}`,
    maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? '' : `≤ ${maximum}`,
    exclusiveMaximum === undefined ? '' : `< ${exclusiveMaximum}`,
  ].filter((bound) => bound !== '');
  return bounds.length === 0 ? kind : `${kind} ${bounds.join(', ')}`;
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<');
}
