// node bench/paths.mjs --model FILE.gguf [flags]: what each path of the kernels reaches here, and
// how much of what its instructions could.
//
//   --paths avx512,avxvnni,avx2,portable   all that this machine has, unless given
//   --precision f32,bf16,int8  --rounds 5  --threads 2  --no-rates (steps and predictions alone)
//   --peer (beside PyTorch, in the environment that `npm run bench:peers` makes)  --out FILE.json
//
// Two tables. Rates, of one core: a register-only loop of a path's instructions, its tiles and
// whole products from four-bit weights for the model's shapes (`cargo run --example path_rate`, all
// in one call); a share is of the loop. Then a training step and a prediction with N = 10 of 4
// prompts of 128 tokens: in each round every path has a fresh process, one after another, so that
// all meet the same mood of the machine; medians over the rounds. CPU seconds are those of all
// threads: they tell more on a busy machine.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from './machine.mjs';
import { median } from './statistics.mjs';
import { TurnTaker } from './turns.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  allowNegative: true,
  options: {
    model: { type: 'string' },
    paths: { type: 'string' },
    precision: { type: 'string', default: 'f32,bf16,int8' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    rates: { type: 'boolean', default: true },
    peer: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
if (values.model === undefined) {
  process.stderr.write(
    'usage: node bench/paths.mjs --model FILE.gguf [--paths avx2,…] [--precision f32,bf16,int8]\n' +
      '       [--rounds 5] [--threads 2] [--no-rates] [--peer] [--out FILE.json]\n',
  );
  process.exit(2);
}
const model = resolve(values.model);
const precisions = values.precision.split(',');
const REPEATS = 2;
/** What is measured → the measurement of `bench/run.mjs`. */
const MEASURED = { step: 'train-step', predict: 'predict' };

function run(command, args) {
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 };
  const { stdout, stderr, status } = spawnSync(command, args, options);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return stdout.trim().split('\n');
}

const { loadNative } = await import(join(root, 'dist/engine/native.js'));
const here = loadNative().dispatches();
const paths = values.paths?.split(',') ?? here;
for (const path of paths) {
  if (here.includes(path)) continue;
  process.stderr.write(`bench/paths: --paths must be of ${here.join(', ')}, got ${path}\n`);
  process.exit(2);
}

const table = (head, rows) => {
  const line = (cells) => `| ${cells.join(' | ')} |\n`;
  process.stdout.write(`\n${line(head)}${line(head.map(() => '---'))}${rows.map(line).join('')}`);
};

/** One fresh process of a path: the least seconds of its repeats after one that is not counted. */
async function measured(path, precision, what) {
  const flags = { model, precision, repeats: REPEATS, threads: values.threads };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = new TurnTaker(
    ['bench/run.mjs', MEASURED[what], '--turns', '--json', '--no-peak', ...args],
    { cwd: root, env: { ...process.env, BPEFT_DISPATCH: path } },
  );
  try {
    const answers = [];
    for (let turn = 0; turn <= REPEATS; turn += 1) answers.push(await child.ask());
    await child.finish();
    const least = (key) => Math.min(...answers.slice(1).map((answer) => answer[key]));
    return { seconds: least('seconds'), cpu_seconds: least('cpu_seconds') };
  } finally {
    child.stop();
  }
}

const python = join(root, '.cache/peers/bin/python');
if (values.peer && !existsSync(python)) {
  process.stderr.write('bench/paths: --peer needs what `npm run bench:peers` installs first\n');
  process.exit(2);
}

/** PyTorch's step and prediction of the same workload, by its type. */
function ofPeer(dtype, workload) {
  const args = ['--dtype', dtype, '--workload', workload, '--steps', '3', '--samples', '10'];
  const answer = run(python, ['bench/peers/blob_step.py', '--gguf', model, ...args]).at(-1);
  const { train_step_s, predict_s } = JSON.parse(answer);
  return { step: { seconds: train_step_s }, predict: { seconds: predict_s } };
}

const rates = values.rates
  ? run('cargo', ['run', '--quiet', '-p', 'blob-core', '--example', 'path_rate'])
      .map((line) => JSON.parse(line))
      .filter(({ path, precision }) => paths.includes(path) && precisions.includes(precision))
  : [];

const rounds = [];
const peers = [];
mkdirSync(join(root, '.cache/bench'), { recursive: true });
const workload = join(root, '.cache/bench/paths-workload.json');
if (values.peer) {
  writeFileSync(workload, run('node', ['bench/run.mjs', 'workload', '--model', model]).at(-1));
}
for (let round = 1; round <= Number(values.rounds); round += 1) {
  for (const precision of precisions) {
    for (const what of Object.keys(MEASURED)) {
      for (const path of round % 2 === 0 ? paths : paths.toReversed()) {
        rounds.push({ path, precision, what, ...(await measured(path, precision, what)) });
      }
    }
  }
  if (values.peer) {
    for (const dtype of ['float32', 'bfloat16']) peers.push({ dtype, ...ofPeer(dtype, workload) });
  }
  process.stderr.write(`round ${round} of ${values.rounds}\n`);
}

const { cpu, cores, commit } = machine(root);
const command = process.argv.slice(2).join(' ').replace(values.model, 'FILE');
process.stdout.write(`${cpu}, ${cores} cores, commit ${commit}: node bench/paths.mjs ${command}\n`);
if (rates.length > 0) {
  const share = (rate, peak) =>
    peak === null ? `${rate}` : `${rate} (${((100 * rate) / peak).toFixed(0)} %)`;
  table(
    ['path', 'precision', 'm × k × n', 'registers', 'tiles', 'product'],
    rates.map((it) => [
      it.path,
      it.precision,
      it.shape.join(' × '),
      it.peak_gflops ?? '–',
      share(it.tile_gflops, it.peak_gflops),
      share(it.product_gflops, it.peak_gflops),
    ]),
  );
}
const middle = (of, key) => median(of.map((it) => it[key])).toPrecision(3);
const cells = (path) =>
  precisions.flatMap((precision) =>
    Object.keys(MEASURED).map((what) => {
      const mine = rounds.filter(
        (it) => it.path === path && it.precision === precision && it.what === what,
      );
      return `${middle(mine, 'seconds')} (${middle(mine, 'cpu_seconds')})`;
    }),
  );
const peerCells = () =>
  precisions.flatMap((precision) => {
    const mine = peers.filter(
      ({ dtype }) => dtype === { f32: 'float32', bf16: 'bfloat16' }[precision],
    );
    return Object.keys(MEASURED).map((what) =>
      mine.length === 0
        ? ''
        : middle(
            mine.map((it) => it[what]),
            'seconds',
          ),
    );
  });
const columns = precisions.flatMap((it) => [`${it} step`, `${it} N = 10`]);
table(
  ['path', ...columns.map((column) => `${column}, s (CPU s)`)],
  [
    ...paths.map((path) => [path, ...cells(path)]),
    ...(peers.length === 0 ? [] : [['PyTorch', ...peerCells()]]),
  ],
);
if (values.out !== undefined) {
  mkdirSync(resolve(values.out, '..'), { recursive: true });
  const report = { cpu, cores, commit, command, rates, rounds, peers };
  writeFileSync(values.out, `${JSON.stringify(report, null, 1)}\n`);
}
