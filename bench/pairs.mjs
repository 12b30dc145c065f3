// npm run bench:pairs -- BEFORE AFTER [flags]: whether one build is slower than another.
//
//   --pairs 20  --precision f32,bf16,int8,int8-mixed  --what step,predict  --repeats 3  --threads 2
//   --layers 30           of SmolLM2's shape: with fewer a turn is shorter, and its noise less
//   --dispatch own,avx2   paths of the kernels: the machine's own, or one of BPEFT_DISPATCH
//   --commits A,B         of BEFORE and AFTER, where a checkout does not know its own
//   --out FILE.json       also writes every measurement
//
// BEFORE and AFTER are checkouts that are built; each is measured by its own `bench/run.mjs`, which
// speaks its library's language, on random weights in SmolLM2-135M's shape: a training step and a
// prediction with N = 10 samples, 4 prompts of 128 tokens. A pair is a fresh process of each build,
// so that the luck of where its memory lies is drawn anew; both are asked in turn, one working
// while the other sleeps, so that they meet the same mood of the machine. Each turn and each pair
// starts with the other build. A process's time is the fastest of its repeats after one that is not
// counted: other work on the machine only adds. CPU time (of all threads) tells more than time on a
// busy machine, but does not see threads that wait. Printed are medians of AFTER/BEFORE over the
// pairs and their intervals by order statistics.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from './machine.mjs';
import { median, medianInterval, ratios } from './statistics.mjs';
import { TurnTaker } from './turns.mjs';

const USAGE = `usage: npm run bench:pairs -- BEFORE AFTER [--pairs 20]
       [--precision f32,bf16,int8,int8-mixed] [--what step,predict] [--repeats 3] [--threads 2]
       [--layers 30] [--dispatch own,avx2] [--commits A,B] [--out FILE.json]; BEFORE and AFTER are
       checkouts that are built\n`;
const root = fileURLToPath(new URL('..', import.meta.url));
const SIDES = ['before', 'after'];
/** What is measured → the measurement of `bench/run.mjs`. */
const MEASURED = { step: 'train-step', predict: 'predict' };

function stop(message) {
  process.stderr.write(`bench:pairs: ${message}\n${USAGE}`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        pairs: { type: 'string', default: '20' },
        precision: { type: 'string', default: 'f32,bf16,int8,int8-mixed' },
        what: { type: 'string', default: 'step,predict' },
        repeats: { type: 'string', default: '3' },
        threads: { type: 'string', default: '2' },
        layers: { type: 'string', default: '30' },
        dispatch: { type: 'string', default: 'own' },
        commits: { type: 'string' },
        out: { type: 'string' },
      },
    });
  } catch (error) {
    return stop(error.message);
  }
}

const { values, positionals } = parse();
if (positionals.length !== 2) stop(`needs two checkouts, got ${positionals.length}`);
const checkouts = { before: resolve(positionals[0]), after: resolve(positionals[1]) };
for (const checkout of Object.values(checkouts)) {
  if (!existsSync(join(checkout, 'dist/index.js')))
    stop(`${checkout} is not built: npm run build there`);
}
const [pairCount, repeats] = [Number(values.pairs), Number(values.repeats)];
for (const name of ['pairs', 'repeats', 'layers']) {
  const value = Number(values[name]);
  if (!(Number.isInteger(value) && value >= 1))
    stop(`--${name} must be 1 or more: ${values[name]}`);
}
const whats = values.what.split(',');
for (const what of whats) {
  if (!Object.hasOwn(MEASURED, what)) stop(`--what must be step or predict: ${what}`);
}

mkdirSync(`${root}.cache/bench`, { recursive: true });
const model = `${root}.cache/bench/random-135m-${values.layers}-layers.gguf`;
if (!existsSync(model)) {
  const make = ['bench/random-model.mjs', '135m', model, '--layers', values.layers];
  const { status } = spawnSync(process.execPath, make, {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) process.exit(1);
}

function start(side, { dispatch, precision, what }) {
  const { BPEFT_DISPATCH: _, ...own } = process.env;
  const flags = { model, precision, repeats, threads: values.threads };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return new TurnTaker(
    ['bench/run.mjs', MEASURED[what], '--turns', '--json', '--no-peak', ...args],
    {
      cwd: checkouts[side],
      env: dispatch === 'own' ? own : { ...own, BPEFT_DISPATCH: dispatch },
    },
  );
}

/** Side → its least seconds and CPU seconds, and its highest resident memory in MiB. */
async function measurePair(row, round) {
  const children = Object.fromEntries(SIDES.map((side) => [side, start(side, row)]));
  const answers = { before: [], after: [] };
  try {
    for (let turn = 0; turn <= repeats; turn += 1) {
      const order = (round + turn) % 2 === 0 ? SIDES : SIDES.toReversed();
      for (const side of order) {
        const answer = await children[side].ask();
        if (turn > 0) answers[side].push(answer);
      }
    }
    const pair = {};
    for (const side of SIDES) {
      const least = (key) => Math.min(...answers[side].map((answer) => answer[key]));
      const { peak_rss_mb } = await children[side].finish();
      pair[side] = { seconds: least('seconds'), cpu_seconds: least('cpu_seconds'), peak_rss_mb };
    }
    return pair;
  } finally {
    for (const child of Object.values(children)) child.stop();
  }
}

const rows = values.dispatch
  .split(',')
  .flatMap((dispatch) =>
    values.precision
      .split(',')
      .flatMap((precision) => whats.map((what) => ({ dispatch, precision, what, pairs: [] }))),
  );
for (let round = 0; round < pairCount; round += 1) {
  for (const row of rows) {
    const pair = await measurePair(row, round).catch((error) => {
      process.stderr.write(`bench:pairs: ${error.message}\n`);
      process.exit(1);
    });
    row.pairs.push(pair);
    const ratio = (pair.after.seconds / pair.before.seconds).toFixed(3);
    process.stderr.write(
      `pair ${round + 1} of ${pairCount}: ${row.dispatch} ${row.precision} ${row.what} ${ratio}\n`,
    );
  }
}

const results = rows.map(({ pairs, ...row }) => {
  const middle = (side) => median(pairs.map((pair) => pair[side].seconds));
  const ratio = (quantity) => {
    const found = ratios(pairs, quantity);
    return { median: median(found), ...medianInterval(found) };
  };
  return {
    ...row,
    before_s: middle('before'),
    after_s: middle('after'),
    time: ratio('seconds'),
    cpu_time: ratio('cpu_seconds'),
    peak_memory: ratio('peak_rss_mb'),
    pairs,
  };
});

const { commit: _, ...where } = machine();
const given = values.commits?.split(',');
const commits = SIDES.map((side, index) => given?.[index] ?? machine(checkouts[side]).commit);
const coverage = (100 * results[0].time.coverage).toFixed(1);
process.stdout.write(
  `${where.cpu}, ${where.cores} cores; BEFORE ${commits[0]}, AFTER ${commits[1]}\n` +
    `AFTER/BEFORE: median of ${pairCount} pairs [its ${coverage} % interval by order statistics]\n\n` +
    '| path | precision | what | BEFORE s | AFTER s | time | CPU time | peak memory |\n' +
    '|---|---|---|---|---|---|---|---|\n',
);
const shown = ({ median, low, high }) =>
  `${median.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
for (const it of results) {
  const seconds = [it.before_s.toFixed(3), it.after_s.toFixed(3)];
  const found = [it.time, it.cpu_time, it.peak_memory].map(shown);
  const cells = [it.dispatch, it.precision, it.what, ...seconds, ...found];
  process.stdout.write(`| ${cells.join(' | ')} |\n`);
}
if (values.out !== undefined) {
  const { out: __, commits: ___, ...flags } = values;
  const args = Object.entries(flags).map(([name, value]) => `--${name} ${value}`);
  const command = `npm run bench:pairs -- BEFORE AFTER ${args.join(' ')}`;
  const report = { ...where, before: commits[0], after: commits[1], command, results };
  mkdirSync(resolve(values.out, '..'), { recursive: true });
  writeFileSync(values.out, `${JSON.stringify(report, null, 1)}\n`);
}
