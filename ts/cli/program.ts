/**
 * The program: finds the command, loads only that one's code, and turns any failure into one text
 * and exit code.
 */

import { Command, CommanderError } from 'commander';
import { foreignNameHint } from '../config/foreign-names.ts';
import { asBpeftError, BpeftError, speakFlags } from '../errors.ts';
import { kebabCase } from '../names.ts';
import { nearestName } from '../nearest.ts';
import { packageVersion } from '../package-version.ts';
import { newCommand } from './command.ts';
import { EXIT, errorJson, errorText, exitCode, ToldFailure } from './exit.ts';
import type { Output } from './output.ts';

/** Adds options and action to a command. */
export type Define = (command: Command, output: Output) => void;

interface Entry {
  readonly name: string;
  readonly description: string;
  readonly load: () => Promise<Define>;
}

const COMMANDS: readonly Entry[] = [
  {
    name: 'demo',
    description: 'see in two minutes what a Bayesian adapter buys; needs no model and no data',
    load: async () => (await import('./commands/demo.ts')).defineDemo,
  },
  {
    name: 'train',
    description: 'fine-tune an adapter on a dataset',
    load: async () => (await import('./commands/train.ts')).defineTrain,
  },
  {
    name: 'lock',
    description: 'write a file that holds the model and the data of a training run by their hashes',
    load: async () => (await import('./commands/lock.ts')).defineLock,
  },
  {
    name: 'bayesianize',
    description: 'make a trained adapter Bayesian, without training',
    load: async () => (await import('./commands/bayesianize.ts')).defineBayesianize,
  },
  {
    name: 'eval',
    description: 'accuracy, calibration and uncertainty of a trained adapter',
    load: async () => (await import('./commands/eval.ts')).defineEval,
  },
  {
    name: 'predict',
    description: 'probabilities and uncertainty for rows of a file or of standard input',
    load: async () => (await import('./commands/predict.ts')).definePredict,
  },
  {
    name: 'compare',
    description: 'methods, datasets and seeds of a file as one table; goes on where it was stopped',
    load: async () => (await import('./commands/compare.ts')).defineCompare,
  },
  {
    name: 'report',
    description: 'runs as one HTML page, or as Markdown, JSON, CSV, or a calibration card',
    load: async () => (await import('./commands/report.ts')).defineReport,
  },
  {
    name: 'push',
    description:
      'send a trained adapter with its card to the Hub; shows what it would send, unless told to',
    load: async () => (await import('./commands/push.ts')).definePush,
  },
  {
    name: 'datasets',
    description: 'list, show, pull or preview datasets',
    load: async () => (await import('./commands/datasets.ts')).defineDatasets,
  },
  {
    name: 'models',
    description: 'list, show, pull or remove models: built-in ones and those of the Hub',
    load: async () => (await import('./commands/models.ts')).defineModels,
  },
  {
    name: 'estimate',
    description: 'memory and time of a run, on this CPU and on a GPU, before anything is there',
    load: async () => (await import('./commands/estimate.ts')).defineEstimate,
  },
  {
    name: 'doctor',
    description:
      'what this machine has for the engine, GPUs included, and whether it computes what it should',
    load: async () => (await import('./commands/doctor.ts')).defineDoctor,
  },
];

const EXAMPLES = `
Examples:
  bpeft demo
  bpeft train --model builtin:tiny --dataset ./data/mine --method blob --out runs/first
  bpeft train --model model.gguf --data-dir data --dataset ARC-Easy --dry-run
  bpeft eval --run runs/first --samples 10,0
  bpeft predict --run runs/first questions.jsonl
  bpeft report runs/first

Exit codes: 0 done, 1 failed, 2 bad usage or input, 130 interrupted.`;

/** Takes away the progress bar that a failure has left. */
const CLEAR_LINE = '\r\u001b[2K';

/** The commands by name, still without their options. */
function bareProgram(output: Output): Command {
  const program = newCommand(new Command('bpeft'), output)
    .description('Bayesian low-rank fine-tuning of language models.')
    .version(packageVersion(), '--version', 'print the version')
    .addHelpText('after', EXAMPLES);
  for (const { name, description } of COMMANDS)
    newCommand(program.command(name), output).description(description);
  return program;
}

/** The program with every command's code loaded: what `docs/cli.md` is written from. */
export async function wholeProgram(output: Output): Promise<Command> {
  const program = bareProgram(output);
  for (const [index, { load }] of COMMANDS.entries()) {
    const command = program.commands[index];
    if (command !== undefined) (await load())(command, output);
  }
  return program;
}

/** Runs one command line (without node and script) and returns its exit code. */
export async function runCli(words: readonly string[], output: Output): Promise<number> {
  speakFlags();
  const program = bareProgram(output);
  const argv = words[0] === 'help' ? [...words.slice(1), '--help'] : words;
  try {
    if (argv.length === 0) {
      output.stdout.write(`${program.helpInformation()}${EXAMPLES}\n`);
      return EXIT.ok;
    }
    const entry = COMMANDS.find(({ name }) => name === argv[0]);
    const command = program.commands.find((one) => one.name() === entry?.name);
    if (entry !== undefined && command !== undefined) (await entry.load())(command, output);
    await program.parseAsync([...argv], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    if (error instanceof ToldFailure) return EXIT.failed;
    const failure =
      error instanceof CommanderError ? usageError(error, program, argv) : asBpeftError(error);
    if (argv.includes('--json')) output.stdout.write(errorJson(failure));
    else
      output.stderr.write(`${output.stderr.isTTY === true ? CLEAR_LINE : ''}${errorText(failure)}`);
    return exitCode(failure);
  }
}

function usageError(error: CommanderError, program: Command, argv: readonly string[]): BpeftError {
  const path = activeCommands(program, argv);
  const active = path.at(-1) ?? program;
  const help = `${path.map((command) => command.name()).join(' ')} --help shows what there is`;
  if (error.code === 'commander.help')
    return new BpeftError('BPEFT_USAGE', 'a command is required', { hint: help });
  const unknown = /'([^'=]+)/.exec(error.message)?.[1] ?? '';
  const known =
    error.code === 'commander.unknownOption'
      ? ['--help', ...active.options.map(({ long }) => long ?? '')]
      : active.commands.map((command) => command.name());
  const isUnknown = ['commander.unknownOption', 'commander.unknownCommand'].includes(error.code);
  const settings = active.options.map((option) => option.attributeName());
  const foreign =
    error.code === 'commander.unknownOption'
      ? foreignNameHint(unknown, settings, (key) => `--${kebabCase(key)}`)
      : null;
  const nearest = isUnknown ? nearestName(unknown, known) : null;
  const meant = foreign ?? (nearest === null ? null : `did you mean ${nearest}?`);
  const list =
    error.code === 'commander.excessArguments' ? '; a list has commas and no spaces: 10,0' : '';
  return new BpeftError('BPEFT_USAGE', error.message.replace(/^error: /, ''), {
    hint: meant ?? `${help}${list}`,
    cause: error,
  });
}

/** The program and the (sub)commands that the arguments name. */
function activeCommands(program: Command, argv: readonly string[]): readonly Command[] {
  const path = [program];
  for (const word of argv) {
    const next = path.at(-1)?.commands.find((command) => command.name() === word);
    if (next === undefined) break;
    path.push(next);
  }
  return path;
}
