// node bench/encoder-peers.mjs --model FOLDER [--rounds 5] [--threads 2] [--python PYTHON]
// [--out FILE.json]: BLoB steps and ten-sample predictions of a BERT of 32 × 64 tokens, this engine
// and PyTorch in turn, each a fresh process; medians over the rounds, on an idle machine.
//
// PyTorch runs in the environment of bench/peers.mjs unless --python names another.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine, peakRssMb } from './machine.mjs';
import { blobTrainer, encoderAdapter } from './run-of-blob.mjs';
import { median } from './statistics.mjs';
import { encoderWorkload, raggedBatches } from './workload.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    python: { type: 'string', default: `${root}.cache/peers/bin/python` },
    out: { type: 'string' },
    /** One measurement of ours, in this process. */
    precision: { type: 'string' },
  },
});
if (values.model === undefined) {
  process.stderr.write('usage: node bench/encoder-peers.mjs --model FOLDER [flags]\n');
  process.exit(2);
}
const SHAPE = { batch: 32, seqLen: 64 };
const KEYS = ['train_step_s', 'predict_s', 'train_rss_mb'];

async function seconds(work, passes) {
  const all = [];
  for (let pass = 0; pass <= passes; pass += 1) {
    const start = performance.now();
    await work();
    all.push((performance.now() - start) / 1000);
  }
  return median(all.slice(1));
}

async function ours(precision) {
  const engine = await import('../dist/engine/index.js');
  const threads = Number(values.threads);
  const model = await engine.loadModel({ model: values.model, precision, threads });
  const { vocabSize } = model.info;
  const [batch] = raggedBatches(engine, encoderWorkload({ ...SHAPE, vocabSize }));
  const adapter = await encoderAdapter(model);
  const trainer = await blobTrainer(engine.Trainer, model, adapter, { updates: 1000 });
  const train_step_s = await seconds(() => trainer.step([batch]), 10);
  const train_rss_mb = peakRssMb();
  const options = { samples: 10, noise: 'token', seed: 1, stochasticLayers: null };
  const predict_s = await seconds(() => adapter.predict(batch, options), 5);
  await model.dispose();
  return { train_step_s, predict_s, train_rss_mb };
}

function printed(command, args) {
  const { stdout, stderr, status } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

function compare() {
  const shared = ['--threads', values.threads];
  const peer = [`${root}bench/peers/encoder_step.py`, values.model, ...shared];
  const self = [fileURLToPath(import.meta.url), '--model', values.model, ...shared];
  const programs = {
    ...Object.fromEntries(
      ['float32', 'bfloat16'].map((dtype) => [
        `torch ${dtype}`,
        () => printed(values.python, [...peer, '--dtype', dtype]),
      ]),
    ),
    ...Object.fromEntries(
      ['f32', 'bf16', 'int8'].map((precision) => [
        `bpeft ${precision}`,
        () => printed(process.execPath, [...self, '--precision', precision]),
      ]),
    ),
  };
  const rounds = Object.fromEntries(Object.keys(programs).map((name) => [name, []]));
  for (let round = 1; round <= Number(values.rounds); round += 1) {
    for (const [name, program] of Object.entries(programs)) {
      rounds[name].push(program());
      process.stderr.write(`round ${round}: ${name}\n`);
    }
  }
  const of = (name, key) => median(rounds[name].map((one) => one[key]));
  const against = (name, key) => (of('torch float32', key) / of(name, key)).toFixed(2);
  const head = [...KEYS, 'step: times as fast', 'N = 10', 'memory: times as small'];
  process.stdout.write(`| program | ${head.join(' | ')} |\n|---|${'---|'.repeat(head.length)}\n`);
  for (const name of Object.keys(programs)) {
    const numbers = KEYS.map((key) => Number(of(name, key).toPrecision(4)));
    const ratios = KEYS.map((key) => against(name, key));
    process.stdout.write(`| ${name} | ${[...numbers, ...ratios].join(' | ')} |\n`);
  }
  if (values.out !== undefined)
    writeFileSync(values.out, `${JSON.stringify({ ...machine(), ...SHAPE, rounds }, null, 1)}\n`);
}

if (values.precision === undefined) compare();
else process.stdout.write(`${JSON.stringify(await ours(values.precision))}\n`);
