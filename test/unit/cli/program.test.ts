import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runCli } from '../../../ts/cli/program.ts';
import { MEANT_SETTINGS } from '../../../ts/config/foreign-names.ts';
import { SCHEMAS } from '../../../ts/config/schema.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

async function cli(...argv: string[]) {
  const written = { stdout: '', stderr: '' };
  const code = await runCli(argv, {
    stdout: { write: (text: string) => (written.stdout += text) },
    stderr: { write: (text: string) => (written.stderr += text) },
  });
  return { code, ...written };
}

it('explains itself when called without arguments', async () => {
  const { code, stdout, stderr } = await cli();
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatchInlineSnapshot(`
    "Usage: bpeft [options] [command]

    Bayesian low-rank fine-tuning of language models.

    Options:
      --version    print the version
      -h, --help   print this help

    Commands:
      demo         see in two minutes what a Bayesian adapter buys; needs no model and no data
      train        fine-tune an adapter on a dataset
      lock         write a file that holds the model and the data of a training run by their hashes
      bayesianize  make a trained adapter Bayesian, without training
      eval         accuracy, calibration and uncertainty of a trained adapter
      predict      probabilities and uncertainty for rows of a file or of standard input
      compare      methods, datasets and seeds of a file as one table; goes on where it was stopped
      report       runs as one HTML page, or as Markdown, JSON, CSV, or a calibration card
      push         send a trained adapter with its card to the Hub; shows what it would send, unless told to
      datasets     list, show, pull or preview datasets
      models       list, show, pull or remove models: built-in ones and those of the Hub
      estimate     memory and time of a run, on this CPU and on a GPU, before anything is there
      doctor       what this machine has for the engine, GPUs included, and whether it computes what it should

    Examples:
      bpeft demo
      bpeft train --model builtin:tiny --dataset ./data/mine --method blob --out runs/first
      bpeft train --model model.gguf --data-dir data --dataset ARC-Easy --dry-run
      bpeft eval --run runs/first --samples 10,0
      bpeft predict --run runs/first questions.jsonl
      bpeft report runs/first

    Exit codes: 0 done, 1 failed, 2 bad usage or input, 130 interrupted.
    "
  `);
});

it('groups the flags of train, with their defaults', async () => {
  const { code, stdout } = await cli('train', '--help');
  expect(code).toBe(0);
  expect(stdout).toMatchSnapshot();
});

it.each(['eval', 'predict', 'datasets', 'models'])('prints the help of %s', async (command) => {
  const { code, stdout } = await cli(command, '--help');
  expect(code).toBe(0);
  expect(stdout).toMatchSnapshot();
});

it('lists every method, precision and quantisation that train offers', async () => {
  const { stdout } = await cli('train', '--help');
  const help = stdout.replace(/\s+/g, ' ');
  expect(help).toContain(
    '--method <id> how the adapter is trained; one of mle, map, mc-dropout, ensemble, bbb, blob, ivon, swag, scalabl, c-lora',
  );
  expect(help).toContain('one of f32, bf16, int8, int8-mixed (default: f32)');
  expect(help).toContain('one of none, q8_0, q4_k, int8, nf4 (default: none)');
});

it.each([
  [
    'train',
    [
      'Training',
      'BBB',
      'BLoB',
      'C-LoRA',
      'Ensemble',
      'IVON',
      'ScalaBL',
      'SWAG',
      'Evaluation and prediction',
      'Protocol',
      'Run folder',
      'Logging',
    ],
  ],
  ['eval', ['BLoB', 'Evaluation and prediction', 'Protocol', 'Run folder', 'Logging']],
  ['predict', ['BLoB', 'Evaluation and prediction', 'Protocol', 'Run folder']],
])('has the headings of %s in one order, each once', async (command, headings) => {
  const { stdout } = await cli(command, '--help');
  const found = [...stdout.matchAll(/^(\w[^<>\n]*):$/gm)].map(([, heading]) => heading);
  const first = command === 'predict' ? ['Arguments', 'Model and data'] : ['Model and data'];
  expect(found).toEqual([...first, ...headings, 'Output', 'Options']);
});

it.each([
  ['predict', 'order', 'file'],
  ['predict', 'last-batch', 'keep'],
  ['predict', 'metric-mean', 'rows'],
  ['predict', 'evaluation-tail', 'keep'],
  ['predict', 'data-dir', 'data'],
  ['eval', 'order', 'file'],
  ['eval', 'last-batch', 'keep'],
])('%s refuses --%s, on which nothing there depends', async (command, flag, value) => {
  const words = command === 'predict' ? ['predict', 'x.jsonl'] : [command];
  const { code, stderr } = await cli(...words, `--${flag}`, value);
  expect([code, stderr]).toEqual([2, expect.stringContaining(`unknown option '--${flag}'`)]);
});

it.each([
  [['trian'], "unknown command 'trian'", 'did you mean train?'],
  [['train', '--kl-lrr', '1'], "unknown option '--kl-lrr'", 'did you mean --kl-lr?'],
  [['datasets', 'lst'], "unknown command 'lst'", 'did you mean list?'],
  [['train', '--lr', 'fast'], '--lr must be a number, got "fast"', undefined],
  [
    ['train', '--method', 'blub'],
    /^--method must be one of mle, .*, got "blub"$/,
    'did you mean blob?',
  ],
  [
    ['train', '--method', 'laplace', '--model', 'm', '--dataset', 'd'],
    /^method laplace makes a trained/,
    /bayesianize/,
  ],
  [
    ['train', '--method', 'mle', '--kl-lr', '5'],
    '--kl-lr is a setting of method blob, got method mle',
    'leave it out, or train with --method blob',
  ],
  [['train', 'extra'], /too many arguments/, /train --help/],
  [
    ['eval', '--samples', '10', '0'],
    /too many arguments/,
    /a list has commas and no spaces: 10,0$/,
  ],
  [['train', '--methd=mle'], "unknown option '--methd=mle'", 'did you mean --method?'],
  [['train', '--hlep'], "unknown option '--hlep'", 'did you mean --help?'],
  [['train', '--learning_rate', '1e-4'], "unknown option '--learning_rate'", 'here it is --lr'],
  [['train', '--lora-r=8'], "unknown option '--lora-r=8'", 'here it is --rank'],
  [
    ['train', '--num_train_epochs', '3'],
    "unknown option '--num_train_epochs'",
    'here it is --epochs',
  ],
  [['train', '--load_in_4bit'], "unknown option '--load_in_4bit'", 'here it is --quantize nf4'],
  [
    ['train', '--warmup-steps', '9'],
    /warmup-steps/,
    'here it is --warmup-ratio (a share of the steps)',
  ],
  [['train', '--do_eval'], /do_eval/, 'evaluate with bpeft eval --run DIR'],
  [
    ['predict', '--per-device-train-batch-size', '4'],
    /per-device/,
    'here it is --batch-size of another command',
  ],
  [['eval'], 'an adapter is required', 'give --run DIR, or --model and --adapter DIR|org/name'],
  [['datasets', 'show', 'ARC-Esay'], 'unknown dataset "ARC-Esay"', /did you mean "ARC-Easy"\?/],
])('ends %j with exit code 2 and a remedy', async (argv, message, hint) => {
  const { code, stdout, stderr } = await cli(...argv, '--json');
  expect([code, stderr]).toEqual([2, '']);
  const { error } = JSON.parse(stdout) as { error: { message: string; hint: string | null } };
  expect(error.message).toEqual(
    typeof message === 'string' ? message : expect.stringMatching(message),
  );
  expect(error.hint).toEqual(hint instanceof RegExp ? expect.stringMatching(hint) : (hint ?? null));
});

it('writes errors for people to stderr, with the code and what to do', async () => {
  const { code, stdout, stderr } = await cli('train', '--seeed', '1');
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toBe(
    "error BPEFT_USAGE: unknown option '--seeed'\n  hint: did you mean --seed?\n",
  );
});

it('asks for a missing command or value', async () => {
  expect((await cli('datasets')).stderr).toContain(
    'a command is required\n  hint: bpeft datasets --help',
  );
  expect((await cli('train', '--lr')).stderr).toContain("option '--lr <x>' argument missing");
});

it('names the config file that a refused value comes from', async () => {
  const path = join(temporaryFolder(), 'x.yaml');
  writeFileSync(path, 'kl_lr: -1\n');
  const { code, stderr } = await cli('train', '--config', path);
  expect(code).toBe(2);
  expect(stderr).toContain(`${path}: kl_lr must be greater than 0, got -1`);
});

it('knows the names of other trainers in a config file too, spelt as the file spells', async () => {
  const path = join(temporaryFolder(), 'x.yaml');
  writeFileSync(path, 'per_device_train_batch_size: 4\n');
  expect((await cli('train', '--config', path)).stderr).toContain('hint: here it is batch_size\n');
});

it('points to settings that exist', () => {
  const known = Object.values(SCHEMAS).flatMap(({ shape }) => Object.keys(shape));
  expect(MEANT_SETTINGS.length).toBeGreaterThan(30);
  expect(known).toEqual(expect.arrayContaining([...MEANT_SETTINGS]));
});

it('lists the datasets as one JSON document', async () => {
  const { code, stdout } = await cli('datasets', 'list', '--json');
  expect(code).toBe(0);
  expect((JSON.parse(stdout) as { name: string }[]).map(({ name }) => name)).toContain('ARC-Easy');
});

it('takes help for a command, before any other', async () => {
  expect(await cli('help')).toEqual(await cli('--help'));
  expect(await cli('help', 'datasets', 'show')).toEqual(await cli('datasets', 'show', '--help'));
});

it('clears the progress bar of a terminal before it says what went wrong', async () => {
  let written = '';
  const stderr = { isTTY: true, write: (text: string) => (written += text) };
  await runCli(['eval'], { stdout: { write: () => undefined }, stderr });
  expect(written.startsWith('\r\u001b[2Kerror BPEFT_USAGE: an adapter is required')).toBe(true);
});
