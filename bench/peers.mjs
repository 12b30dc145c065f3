// npm run bench:peers -- --model FILE.gguf --data-dir DIR [--rounds 5] [--out FILE.json]: this
// engine and PyTorch in turn, on an idle machine.
//
// Each round starts every program anew, ours and theirs one after the other; numbers are medians
// over the rounds. PyTorch runs in its own virtual environment (`bench/peers/requirements.txt`),
// which the first call makes in .cache/peers.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from './machine.mjs';
import { median } from './statistics.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    'data-dir': { type: 'string' },
    rounds: { type: 'string', default: '5' },
    out: { type: 'string' },
  },
});
if (values.model === undefined || values['data-dir'] === undefined) {
  process.stderr.write(
    'usage: npm run bench:peers -- --model FILE.gguf --data-dir DIR [--rounds 5] [--out FILE.json]\n',
  );
  process.exit(2);
}
const python = `${root}.cache/peers/bin/python`;

function run(command, args) {
  const { stdout, stderr, status } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return stdout.trim().split('\n').at(-1);
}

if (!existsSync(python)) {
  run('python3', ['-m', 'venv', `${root}.cache/peers`]);
  run(python, ['-m', 'pip', 'install', '--quiet', '-r', 'bench/peers/requirements.txt']);
}

const ours = (what, ...args) =>
  JSON.parse(
    run('node', ['bench/run.mjs', what, '--model', values.model, '--json', '--no-peak', ...args]),
  );
const torch = (...args) =>
  JSON.parse(run(python, ['bench/peers/blob_step.py', '--gguf', values.model, ...args]));

mkdirSync(`${root}.cache/bench`, { recursive: true });
const files = { uniform: `${root}.cache/bench/uniform.json`, arc: `${root}.cache/bench/arc.json` };
const real = ['--data-dir', values['data-dir']];
writeFileSync(files.uniform, run('node', ['bench/run.mjs', 'workload', '--model', values.model]));
writeFileSync(
  files.arc,
  run('node', ['bench/run.mjs', 'workload', '--model', values.model, ...real]),
);

/** name → one measurement of one round, each a fresh process. */
const programs = {};
for (const dtype of ['float32', 'bfloat16']) {
  const short = dtype === 'float32' ? 'f32' : 'bf16';
  programs[`torch ${short}`] = () =>
    torch('--dtype', dtype, '--workload', files.uniform, '--steps', '3', '--samples', '10');
  programs[`torch ${short}, last position only`] = () =>
    torch(
      '--dtype',
      dtype,
      '--workload',
      files.uniform,
      '--steps',
      '3',
      '--samples',
      '10',
      '--lean',
    );
  programs[`torch ${short}, ARC-Easy`] = () =>
    torch('--dtype', dtype, '--workload', files.arc, '--steps', '1');
}
for (const precision of ['f32', 'bf16', 'int8']) {
  programs[`bpeft ${precision}`] = () => {
    const step = ours('train-step', '--precision', precision);
    const { predict_s } = ours('predict', '--precision', precision, '--repeats', '3');
    return { ...step, train_rss_mb: step.peak_rss_mb, predict_s };
  };
  programs[`bpeft ${precision}, ARC-Easy`] = () =>
    ours('train-step', '--precision', precision, '--repeats', '3', ...real);
  programs[`bpeft ${precision}, N = 1`] = () =>
    ours('predict', '--precision', precision, '--samples', '1');
  programs[`bpeft ${precision}, last:1`] = () =>
    ours('predict', '--precision', precision, '--stochastic-layers', '1');
}

const KEYS = ['train_step_s', 'predict_s', 'load_s', 'train_rss_mb'];
const rounds = Object.fromEntries(Object.keys(programs).map((name) => [name, []]));
for (let round = 1; round <= Number(values.rounds); round += 1) {
  for (const [name, program] of Object.entries(programs)) {
    rounds[name].push(program());
    process.stderr.write(`round ${round}: ${name}\n`);
  }
}
const medians = {};
for (const [name, results] of Object.entries(rounds)) {
  medians[name] = {};
  for (const key of KEYS) {
    const numbers = results.map((result) => result[key]).filter((value) => value !== undefined);
    if (numbers.length > 0) medians[name][key] = Number(median(numbers).toPrecision(4));
  }
}

process.stdout.write(`| program | ${KEYS.join(' | ')} |\n|---|${'---|'.repeat(KEYS.length)}\n`);
for (const [name, row] of Object.entries(medians)) {
  process.stdout.write(`| ${name} | ${KEYS.map((key) => row[key] ?? '').join(' | ')} |\n`);
}
const ratio = (a, b, key) => (medians[a][key] / medians[b][key]).toFixed(2);
process.stdout.write(
  '\n| ratio | torch f32 | torch bf16 | f32, last only | bf16, last only |\n|---|---|---|---|---|\n',
);
for (const precision of ['f32', 'bf16', 'int8']) {
  for (const [key, suffix] of [
    ['train_step_s', ''],
    ['predict_s', ''],
    ['train_rss_mb', ''],
    ['load_s', ''],
    ['train_step_s', ', ARC-Easy'],
  ]) {
    const mine = `bpeft ${precision}${suffix}`;
    const cells = [
      'torch f32',
      'torch bf16',
      'torch f32, last position only',
      'torch bf16, last position only',
    ].map((name) =>
      suffix === ''
        ? ratio(name, mine, key)
        : name.includes('only')
          ? ''
          : ratio(`${name}${suffix}`, mine, key),
    );
    process.stdout.write(`| ${mine}: ${key} | ${cells.join(' | ')} |\n`);
  }
  const last = ratio(`bpeft ${precision}, last:1`, `bpeft ${precision}, N = 1`, 'predict_s');
  process.stdout.write(`| bpeft ${precision}: N = 10 of last:1 against N = 1 | ${last} | | | |\n`);
}
if (values.out !== undefined) {
  writeFileSync(values.out, `${JSON.stringify({ ...machine(), rounds }, null, 1)}\n`);
}
