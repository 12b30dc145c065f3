// node bench/cuda-counts.mjs MODEL.gguf SIZES SAMPLES: on an emulated GPU, what a training step and
// N posterior samples ask of it, as lines of JSON of the driver (CUDA_EMU_COUNTS). SIZES is a list
// of {batch, tokens} as JSON. bench/cuda-cost-model.mjs starts it.

import { readFileSync, statSync } from 'node:fs';
import { loadModel, raggedBatch, Trainer } from '../dist/engine/index.js';
import { blobAdapter, blobTrainer } from './run-of-blob.mjs';
import { raggedBatches, uniformWorkload } from './workload.mjs';

const [file, sizes, samples] = process.argv.slice(2);
const lines = process.env.CUDA_EMU_COUNTS;

/** What `work` asks for. */
async function asked(work) {
  const before = statSync(lines).size;
  await work();
  const text = readFileSync(lines).subarray(before).toString();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** Most bytes so far. */
function peak() {
  const found = [...readFileSync(lines, 'utf8').matchAll(/"peak_bytes":(\d+)/g)];
  return Number(found.at(-1)?.[1] ?? 0);
}

const model = await loadModel({ model: file, precision: 'bf16', device: 'cuda:0' });
for (const { batch: rows, tokens } of JSON.parse(sizes)) {
  const { vocabSize } = model.info;
  const workload = uniformWorkload({ batch: rows, seqLen: tokens, vocabSize });
  const [batch] = raggedBatches({ raggedBatch }, workload);
  const adapter = await blobAdapter(model, 8);
  const trainer = await blobTrainer(Trainer, model, adapter, { updates: 1000 });
  await trainer.step([batch]); // what is made once
  const step = await asked(() => trainer.step([batch]));
  const peak_bytes = peak();
  const options = { samples: Number(samples), noise: 'token', seed: 1, stochasticLayers: null };
  const answers = await asked(() => adapter.predict(batch, options));
  process.stdout.write(`${JSON.stringify({ batch: rows, tokens, peak_bytes, step, answers })}\n`);
  await trainer.dispose();
  await adapter.dispose();
}
await model.dispose();
