// node measure.mjs MODEL.gguf PLAN: updates, N posterior samples, peak memory and a profile by
// kernel of one shape in bf16; the first size also by graphs of launches. A line of JSON for each
// thing as soon as it is known, so that what was measured before the time was up is kept.
//
// PLAN is an entry of `shapes` of plan.mjs as JSON; `seconds` is what each thing may take.

import { blobAdapter, blobTrainer } from '../../bench/run-of-blob.mjs';
import { median } from '../../bench/statistics.mjs';
import { raggedBatches, uniformWorkload } from '../../bench/workload.mjs';
import { kernelTimes } from './kernel-times.mjs';

const [file, text] = process.argv.slice(2);
const plan = JSON.parse(text);
const library = await import(process.env.BPEFT_LIBRARY);
const MOST_REPEATS = 12;
const ANSWERS = { noise: 'token', seed: 1, stochasticLayers: null };

function tell(row) {
  process.stdout.write(`${JSON.stringify({ shape: plan.shape, ...row })}\n`);
}

async function timed(work) {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** Medians after one that is not counted, or that one where nothing else fits the time. */
async function repeated(work) {
  const first = await timed(work);
  const times = [];
  for (let left = plan.seconds - first; left > 0 && times.length < MOST_REPEATS; ) {
    const took = await timed(work);
    times.push(took);
    left -= took;
  }
  return { seconds: median(times.length > 0 ? times : [first]), repeats: times.length, first };
}

/** Whatever a full memory says is a result, too. */
async function unlessFull(row, work) {
  try {
    tell({ ...row, ...(await work()) });
  } catch (error) {
    if (error?.code !== 'BPEFT_OUT_OF_MEMORY') throw error;
    tell({ ...row, out_of_memory: error.message });
  }
}

const loading = performance.now();
const model = await library.loadModel({ model: file, precision: 'bf16', device: 'cuda:0' });
const { vocabSize, gpu, parameters, memoryBytes } = model.info;
const load_s = (performance.now() - loading) / 1000;
tell({ what: 'load', load_s, gpu, parameters, weight_bytes: memoryBytes });

for (const { batch: rows, tokens } of plan.batches) {
  const workload = uniformWorkload({ batch: rows, seqLen: tokens, vocabSize });
  const [batch] = raggedBatches(library, workload);
  const row = { batch: rows, tokens, gpu };
  const adapter = await blobAdapter(model, 8);
  const trainer = await blobTrainer(library.Trainer, model, adapter, { updates: 1000 });
  const step = () => trainer.step([batch]);
  await unlessFull({ what: 'step', ...row }, async () => {
    const { seconds, repeats, first } = await repeated(step);
    const tokens_per_s = Math.round((rows * tokens) / seconds);
    const peak_bytes = model.peakGpuBytes();
    return { step_s: seconds, repeats, first_s: first, tokens_per_s, peak_bytes };
  });
  await unlessFull({ what: 'profile', ...row }, () => kernelTimes(step));
  const answer = (samples) => () => adapter.predict(batch, { ...ANSWERS, samples });
  await unlessFull({ what: 'samples', ...row, samples: plan.samples }, async () => {
    const one = await timed(answer(1));
    if (one * plan.samples > 2 * plan.seconds) {
      return { one_s: one, notRun: `${plan.samples} would take about ${one * plan.samples} s` };
    }
    const { seconds, repeats } = await repeated(answer(plan.samples));
    return { samples_s: seconds, repeats, one_s: one, peak_bytes: model.peakGpuBytes() };
  });
  await trainer.dispose();
  await adapter.dispose();
}
await model.dispose();

// The size of few tokens, where the host's launches weigh most, once more by graphs: two steps that
// are not counted, then one that captures, then launches.
const again = await library.loadModel({
  ...{ model: file, precision: 'bf16', device: 'cuda:0', cudaGraphs: true },
});
const [{ batch: rows, tokens }] = plan.batches;
const [batch] = raggedBatches(library, uniformWorkload({ batch: rows, seqLen: tokens, vocabSize }));
const row = { batch: rows, tokens, gpu };
const adapter = await blobAdapter(again, 8);
const trainer = await blobTrainer(library.Trainer, again, adapter, { updates: 1000 });
const step = () => trainer.step([batch]);
await unlessFull({ what: 'step by graphs', ...row }, async () => {
  for (let times = 0; times < 3; times++) await step();
  const { seconds, repeats } = await repeated(step);
  return { step_s: seconds, repeats };
});
await unlessFull({ what: 'profile by graphs', ...row }, async () => {
  const { wall_s, busy_s } = await kernelTimes(step);
  return { wall_s, busy_s };
});
await unlessFull({ what: 'samples by graphs', ...row, samples: plan.samples }, async () => {
  const answer = () => adapter.predict(batch, { ...ANSWERS, samples: plan.samples });
  for (let times = 0; times < 3; times++) await answer();
  const { seconds, repeats } = await repeated(answer);
  return { samples_s: seconds, repeats };
});
await trainer.dispose();
await adapter.dispose();
await again.dispose();
