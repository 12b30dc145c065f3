// npm run bench:cuda-model [-- --only 1b:4x100] [--blocks 8] [--write]: where the time of a
// training step and of N = 10 posterior samples must go on an H200, from what the engine asks of an
// emulated GPU. --write replaces bench/results/cuda-cost-model.json and docs/gpu-cost-model.md.
//
// Nothing is counted by hand: the engine runs at the real width, batch and length, two and three
// blocks deep; each launch runs some of its blocks, whose arithmetic and accesses are counted
// (tools/cuda-emulator/driver/counter.h). What the third block adds, every further one does.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, buildForEngine } from '../tools/cuda-emulator/build.mjs';
import { buildNative, root } from '../tools/steps.mjs';
import { costPage } from './cuda-cost-page.mjs';
import { modelled } from './cuda-roofline.mjs';

const SAMPLES = 10;
const DEPTHS = [2, 3];
const SHAPES = { '7b': 32, '1b': 16 }; // blocks
const SIZES = [
  { batch: 4, tokens: 100 },
  { batch: 8, tokens: 2048 },
];

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    blocks: { type: 'string', default: '8' },
    write: { type: 'boolean', default: false },
  },
});
const folder = join(root, '.cache/cost-model');
mkdirSync(folder, { recursive: true });

function isWanted(shape, { batch, tokens }) {
  return values.only === undefined || values.only === `${shape}:${batch}x${tokens}`;
}

/** Variables with which Node sees an emulated GPU that counts. */
async function environment() {
  const types = join(root, '.cache/cuda/addon/addon.d.ts');
  const output = join(root, '.cache/cuda/addon');
  const addon = buildNative({ features: ['cuda'], output, types });
  if (addon === null) process.exit(1);
  const kernels = join(root, 'crates/blob-core/src/kernels/cuda');
  const sources = readdirSync(kernels).filter((name) => name.endsWith('.cu'));
  const of = { kernels: sources.map((name) => join(kernels, name)), programs: [] };
  const { kernels: CUDA_EMU_KERNELS } = await build('counted', of);
  return {
    ...(await buildForEngine()),
    CUDA_EMU_KERNELS,
    CUDA_EMU_BLOCKS: values.blocks,
    CUDA_EMU_MEMORY: '400000',
    BPEFT_CUDA_ARENA: '0', // whose blocks would hide what each depth adds
    BPEFT_NATIVE_PATH: addon,
  };
}

function node(script, args, env) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [fileURLToPath(new URL(script, import.meta.url)), ...args],
    { env: { ...process.env, ...env }, encoding: 'utf8', maxBuffer: 1 << 30 },
  );
  if (status !== 0) throw new Error(`${script} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** What is asked for at one depth, for each size. */
function countsOf(shape, depth, sizes, variables) {
  const file = join(folder, `${shape}-${depth}.gguf`);
  if (!existsSync(file)) {
    node('random-model.mjs', [shape, file, '--layers', String(depth), '--type', 'bf16'], {});
  }
  const lines = join(folder, 'counts.jsonl');
  const args = [file, JSON.stringify(sizes), String(SAMPLES)];
  const out = node('cuda-counts.mjs', args, { ...variables, CUDA_EMU_COUNTS: lines });
  rmSync(file);
  return out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

const variables = await environment();
const found = [];
for (const [shape, blocks] of Object.entries(SHAPES)) {
  const sizes = SIZES.filter((size) => isWanted(shape, size));
  if (sizes.length === 0) continue;
  const [shallow, deep] = DEPTHS.map((depth) => countsOf(shape, depth, sizes, variables));
  for (const [index, size] of sizes.entries()) {
    const at = { shallow: shallow[index], deep: deep[index], more: blocks - DEPTHS[0] };
    found.push({ shape, ...size, samples: SAMPLES, ...modelled(at) });
    process.stderr.write(`${shape} ${size.batch} x ${size.tokens}\n`);
  }
}
const data = { format: 1, gpu: 'H200', blocks_run: Number(values.blocks), sizes: found };
const page = costPage(data);
if (values.write) {
  writeFileSync(
    join(root, 'bench/results/cuda-cost-model.json'),
    `${JSON.stringify(data, null, 1)}\n`,
  );
  writeFileSync(join(root, 'docs/gpu-cost-model.md'), page);
} else {
  process.stdout.write(page);
}
