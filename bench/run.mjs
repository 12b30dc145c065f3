// npm run bench -- train-step|predict|load|gemm|workload [flags]: measures the engine as a Node
// program sees it.
//
//   --model FILE|builtin:NAME  --precision f32|bf16|int8  --batch 4  --seq-len 128  --data-dir DIR
//   (real rows of ARC-Easy instead) --rank 8  --samples 10  --stochastic-layers K  --checkpointing
//   none|full  --threads 2  --repeats 7  --json  --no-peak --build CHECKOUT (whose library is
//   measured; this one unless given)  --turns (each repeat waits to be asked: bench/turns.mjs)
//
// Seconds are medians of the repeats, each the mean over the workload's batches, after one that is
// not counted. A FLOP is an addition or a multiplication with a frozen weight that the result
// needs; `fraction_of_peak` divides the time that these would take at the rates of a large product
// (`cargo run --example gemm_rate`, measured in the same call) by the time taken.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { machine, peakRssMb } from './machine.mjs';
import { blobAdapter, blobTrainer } from './run-of-blob.mjs';
import { median } from './statistics.mjs';
import { answerTurn, takeTurns } from './turns.mjs';
import { arcWorkload, raggedBatches, uniformWorkload } from './workload.mjs';

process.once('uncaughtException', ({ code, message, hint }) => {
  process.stderr.write(
    `error ${code}: ${message}\n${hint === undefined ? '' : `  hint: ${hint}\n`}`,
  );
  process.exitCode = 1;
});

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'builtin:tiny' },
    precision: { type: 'string', default: 'bf16' },
    batch: { type: 'string', default: '4' },
    'seq-len': { type: 'string', default: '128' },
    'data-dir': { type: 'string' },
    rank: { type: 'string', default: '8' },
    samples: { type: 'string', default: '10' },
    'stochastic-layers': { type: 'string' },
    checkpointing: { type: 'string', default: 'none' },
    threads: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '7' },
    peak: { type: 'boolean', default: true },
    json: { type: 'boolean', default: false },
    turns: { type: 'boolean', default: false },
    build: { type: 'string', default: fileURLToPath(new URL('..', import.meta.url)) },
  },
  allowNegative: true,
});
const [what] = positionals;
// Builds before the engine had a door of its own hand out everything by the main one.
const doors = ['dist/engine/index.js', 'dist/index.js'].map((path) => resolve(values.build, path));
const library = await import(pathToFileURL(doors.find((path) => existsSync(path))).href);
const flags = {
  ...values,
  batch: Number(values.batch),
  seqLen: Number(values['seq-len']),
  samples: Number(values.samples),
  stochasticLayers:
    values['stochastic-layers'] === undefined ? null : Number(values['stochastic-layers']),
  threads: Number(values.threads),
  repeats: Number(values.repeats),
};

async function seconds(work, repeats) {
  const all = [];
  const asked = flags.turns ? takeTurns() : undefined;
  for (let round = 0; round <= repeats; round += 1) {
    if (asked !== undefined) await asked.next();
    const [start, cpu] = [performance.now(), process.cpuUsage()];
    await work();
    all.push((performance.now() - start) / 1000);
    const { user, system } = process.cpuUsage(cpu);
    if (asked !== undefined)
      answerTurn({ seconds: all.at(-1), cpu_seconds: (user + system) / 1e6 });
  }
  return median(all.slice(1));
}

async function workloadFor(model) {
  const { batch, seqLen } = flags;
  const { vocabSize } = model.info;
  return flags['data-dir'] === undefined
    ? uniformWorkload({ batch, seqLen, vocabSize })
    : arcWorkload(library, model, { dataDir: flags['data-dir'], batch, count: 8 });
}

/** FLOPs of a pass over a batch: forward, and back to the first block's norm. */
function work(info, batch) {
  const tokens = batch.ids.length;
  const last = batch.offsets.length - 1;
  const { hiddenSize: d, intermediateSize: f, numLayers, numHeads, numKvHeads, headDim } = info;
  const q = d * numHeads * headDim;
  const kv = d * numKvHeads * headDim;
  // q, o, gate, up, down: in the last block for the last positions alone
  const late = 2 * q + 3 * d * f;
  const forward = 2 * ((numLayers - 1) * tokens * (late + 2 * kv) + tokens * 2 * kv + last * late);
  return { forward, backward: forward - 2 * tokens * (q + 2 * kv) };
}

function gemmRates() {
  const example = [
    'run',
    '--quiet',
    '-p',
    'blob-core',
    '--example',
    'gemm_rate',
    '--',
    String(flags.threads),
  ];
  const { stdout, stderr, status } = spawnSync('cargo', example, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cargo ${example.join(' ')}: ${stderr}`);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** GFLOP/s that this machine reaches in a large product: the limit that fractions refer to. */
function peaks() {
  const peak = {};
  for (const { precision, direction, gflops } of gemmRates()) {
    if (direction === 'forward') peak[precision] = Math.max(peak[precision] ?? 0, gflops);
  }
  return peak;
}

function rates({ forward, backward }, time) {
  const gflops = Math.round((forward + backward) / time / 1e9);
  if (!flags.peak) return { gflops };
  const peak = peaks();
  const back = flags.precision === 'int8' ? 'bf16' : flags.precision;
  const ideal = forward / peak[flags.precision] + backward / peak[back];
  return { gflops, fraction_of_peak: Number((ideal / 1e9 / time).toFixed(3)) };
}

async function open() {
  const start = performance.now();
  const model = await library.loadModel({
    model: flags.model,
    precision: flags.precision,
    threads: flags.threads,
  });
  return { model, load_s: (performance.now() - start) / 1000 };
}

const adapterOf = (model) => blobAdapter(model, Number(flags.rank));

async function trainStep() {
  const { model, load_s } = await open();
  const batches = raggedBatches(library, await workloadFor(model));
  const trainer = await blobTrainer(library.Trainer, model, await adapterOf(model), {
    updates: 1000,
    keptBytes: flags.checkpointing === 'full' ? 0 : undefined,
  });
  const round = async () => {
    for (const batch of batches) await trainer.step([batch]);
  };
  await round(); // its page faults are those of the first use
  const before = process.resourceUsage();
  const total = await seconds(round, flags.repeats);
  const after = process.resourceUsage();
  const steps = (flags.repeats + 1) * batches.length;
  const cpu = after.userCPUTime - before.userCPUTime + after.systemCPUTime - before.systemCPUTime;
  const tokens = batches.reduce((sum, { ids }) => sum + ids.length, 0);
  const flops = batches.map((batch) => work(model.info, batch));
  const sum = (key) => flops.reduce((all, it) => all + it[key], 0);
  const peak_rss_mb = peakRssMb();
  await model.dispose();
  return {
    train_step_s: total / batches.length,
    cpu_s: cpu / steps / 1e6,
    page_faults: Math.round((after.minorPageFault - before.minorPageFault) / steps),
    tokens_per_s: Math.round(tokens / total),
    peak_rss_mb,
    load_s,
    ...rates({ forward: sum('forward'), backward: sum('backward') }, total),
  };
}

async function predict() {
  const { model, load_s } = await open();
  const batches = raggedBatches(library, await workloadFor(model));
  const adapter = await adapterOf(model);
  const { samples, stochasticLayers } = flags;
  const options = { samples, noise: 'token', seed: 1, stochasticLayers };
  const total = await seconds(async () => {
    for (const batch of batches) await adapter.predict(batch, options);
  }, flags.repeats);
  const peak_rss_mb = peakRssMb();
  const forward = batches.reduce((sum, batch) => sum + work(model.info, batch).forward, 0);
  const tokens = batches.reduce((sum, { ids }) => sum + ids.length, 0);
  const passes = stochasticLayers === null ? Math.max(1, samples) : 1;
  await model.dispose();
  return {
    predict_s: total / batches.length,
    samples,
    tokens_per_s: Math.round((tokens * Math.max(1, samples)) / total),
    peak_rss_mb,
    load_s,
    ...rates({ forward: forward * passes, backward: 0 }, total),
  };
}

async function load() {
  const load_s = await seconds(async () => {
    const { model } = await open();
    await model.dispose();
  }, flags.repeats);
  return { load_s, peak_rss_mb: peakRssMb() };
}

async function workload() {
  const { model } = await open();
  const made = await workloadFor(model);
  await model.dispose();
  return made;
}

const measurements = { 'train-step': trainStep, predict, load, workload };
if (what === 'gemm') {
  for (const rate of gemmRates()) {
    const { path, precision, direction, shape, gflops } = rate;
    const text = `${path} ${precision} ${direction} ${shape.join(' x ')}: ${gflops} GFLOP/s`;
    process.stdout.write(`${flags.json ? JSON.stringify(rate) : text}\n`);
  }
} else if (Object.hasOwn(measurements, what ?? '')) {
  const result = await measurements[what]();
  if (what === 'workload') {
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } else if (flags.json) {
    const { precision, threads, repeats } = flags;
    process.stdout.write(
      `${JSON.stringify({ ...result, precision, threads, repeats, ...machine(flags.build) })}\n`,
    );
  } else {
    for (const [name, value] of Object.entries(result)) {
      process.stdout.write(
        `${name.padEnd(18)}${typeof value === 'number' ? Number(value.toPrecision(4)) : value}\n`,
      );
    }
  }
} else {
  process.stderr.write(
    `usage: npm run bench -- train-step|predict|load|gemm|workload [flags], got ${what ?? 'nothing'}\n`,
  );
  process.exitCode = 2;
}
