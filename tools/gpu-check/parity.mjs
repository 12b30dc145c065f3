// node parity.mjs MODEL.gguf PLAN: updates of BLoB and posterior samples of one model on the CPU
// and on the GPU, twice; whether memory comes back. One line of JSON.
//
// PLAN is the part `parity` of plan.mjs as JSON. Differences are relative to the largest value.

import { dirname, join } from 'node:path';
import { blobAdapter, blobTrainer } from '../../bench/run-of-blob.mjs';
import { raggedBatches, uniformWorkload } from '../../bench/workload.mjs';

const [file, text] = process.argv.slice(2);
const plan = JSON.parse(text);
const library = await import(process.env.BPEFT_LIBRARY);
const { surveyGpus } = await import(join(dirname(process.env.BPEFT_LIBRARY), 'gpus.js'));

/** Losses of updates, and the logits of three samples after them. */
async function numbers(device, precision) {
  const model = await library.loadModel({ model: file, device, precision });
  const { vocabSize } = model.info;
  const workload = uniformWorkload({ batch: plan.batch, seqLen: plan.tokens, vocabSize });
  const [batch] = raggedBatches(library, workload);
  const adapter = await blobAdapter(model, 8);
  const trainer = await blobTrainer(library.Trainer, model, adapter, { updates: 10 });
  const losses = [];
  for (let step = 0; step < plan.steps; step += 1) losses.push((await trainer.step([batch])).nll);
  const options = { samples: 3, noise: 'token', seed: 1, stochasticLayers: null };
  const logits = await adapter.predict(batch, options);
  await model.dispose();
  return { losses, logits: [...logits] };
}

function difference(a, b) {
  const scale = Math.max(...a.map(Math.abs), 1e-30);
  return Math.max(...a.map((value, index) => Math.abs(value - b[index]) / scale));
}

async function freeBytes() {
  return (await surveyGpus()).gpus[0].freeBytes;
}

const results = { shape: plan.shape, layers: plan.layers, precisions: {} };
await numbers('cuda:0', 'f32'); // opens everything that stays open
const before = await freeBytes();
for (const precision of ['f32', 'bf16']) {
  const cpu = await numbers('cpu', precision);
  const gpu = await numbers('cuda:0', precision);
  const again = await numbers('cuda:0', precision);
  results.precisions[precision] = {
    losses: difference(cpu.losses, gpu.losses),
    logits: difference(cpu.logits, gpu.logits),
    same_bits: JSON.stringify(gpu) === JSON.stringify(again),
  };
}
results.bytes_kept = before - (await freeBytes());
process.stdout.write(`${JSON.stringify(results)}\n`);
