// node bench/scaling.mjs [--out FILE.json] [--picture FILE.svg] [--large]: how time and memory of a
// bf16 step grow with tokens, layers, rank, samples and threads, on random models in SmolLM2-135M's
// shape; with --large also a step of 1B- and 7B-shaped models (Q4_0; 5 GB of disk in .cache).
//
// Each point is a fresh process (`bench/run.mjs`); the expected growth is that of the arithmetic:
// FLOPs of a pass.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { machine } from './machine.mjs';
import { drawScaling } from './scaling-picture.mjs';

const { values } = parseArgs({
  options: {
    out: { type: 'string' },
    picture: { type: 'string' },
    large: { type: 'boolean', default: false },
  },
});
const folder = '.cache/bench';
mkdirSync(folder, { recursive: true });

function node(...args) {
  const { stdout, stderr, status } = spawnSync('node', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`node ${args.join(' ')}: ${stderr}`);
  return stdout.trim().split('\n').at(-1);
}

function model(shape, layers) {
  const file = `${folder}/random-${shape}${layers === undefined ? '' : `-${layers}`}.gguf`;
  if (!existsSync(file))
    node(
      'bench/random-model.mjs',
      shape,
      file,
      ...(layers === undefined ? [] : ['--layers', layers]),
    );
  return file;
}

const measure = (what, file, ...flags) =>
  JSON.parse(node('bench/run.mjs', what, '--model', file, '--json', '--no-peak', ...flags));

const small = model('135m');
/** axis → what is varied and how to measure one value of it. */
const AXES = {
  'tokens per prompt (4 prompts)': [
    [32, 64, 128, 256, 512, 1024],
    (n) => measure('train-step', small, '--seq-len', `${n}`, '--repeats', '3'),
  ],
  layers: [[5, 10, 20, 30], (n) => measure('train-step', model('135m', `${n}`), '--repeats', '3')],
  rank: [[2, 8, 32, 128], (n) => measure('train-step', small, '--rank', `${n}`, '--repeats', '3')],
  'samples of a prediction': [
    [1, 2, 5, 10, 20],
    (n) => measure('predict', small, '--samples', `${n}`, '--repeats', '3'),
  ],
  threads: [[1, 2], (n) => measure('train-step', small, '--threads', `${n}`, '--repeats', '3')],
};

const points = [];
const line = (cells) => process.stdout.write(`| ${cells.join(' | ')} |\n`);
line(['varied', 'value', 'seconds', 'GFLOP/s', 'peak MiB']);
line(['---', '---', '---', '---', '---']);
function record(axis, value, { train_step_s, predict_s, gflops, peak_rss_mb }) {
  const seconds = train_step_s ?? predict_s;
  points.push({ axis, value, seconds, gflops, peak_rss_mb });
  line([axis, value, seconds.toPrecision(3), gflops, peak_rss_mb]);
}
for (const [axis, [ns, at]] of Object.entries(AXES)) {
  for (const n of ns) record(axis, n, at(n));
}
if (values.large) {
  for (const shape of ['1b', '7b']) {
    for (const precision of ['bf16', 'int8']) {
      for (const checkpointing of ['none', 'full']) {
        const flags = [
          '--precision',
          precision,
          '--checkpointing',
          checkpointing,
          '--repeats',
          '2',
        ];
        record(
          `${shape}, 4 × 128 tokens`,
          `${precision}, checkpointing ${checkpointing}`,
          measure('train-step', model(shape), ...flags),
        );
      }
    }
  }
}
if (values.out !== undefined)
  writeFileSync(values.out, `${JSON.stringify({ ...machine(), points }, null, 1)}\n`);
if (values.picture !== undefined) writeFileSync(values.picture, drawScaling(points));
