// node bench/two-models.mjs [--build CHECKOUT] [--model FILE|builtin:NAME] [--seconds 10]: what two
// models of one process do to each other. One trains alone; one trains while the other answers
// single rows, one after another; both train. Steps a second, and milliseconds that an answer takes
// (median, 99th percentile).

import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { blobAdapter, blobTrainer } from './run-of-blob.mjs';
import { raggedBatches, uniformWorkload } from './workload.mjs';

const { values } = parseArgs({
  options: {
    build: { type: 'string', default: fileURLToPath(new URL('..', import.meta.url)) },
    model: { type: 'string', default: 'builtin:tiny' },
    seconds: { type: 'string', default: '10' },
    threads: { type: 'string' },
  },
});
const door = (file) => import(pathToFileURL(resolve(values.build, 'dist', file)).href);
const [library, engine] = [await door('index.js'), await door('engine/index.js')];
const threads = values.threads === undefined ? undefined : Number(values.threads);

async function open() {
  const model = await library.loadModel({ model: values.model, threads });
  const adapter = await blobAdapter(model, 8);
  const trainer = await blobTrainer(engine.Trainer, model, adapter, { updates: 1e6 });
  const batch = (rows) =>
    raggedBatches(
      engine,
      uniformWorkload({ batch: rows, seqLen: 128, vocabSize: model.info.vocabSize }),
    )[0];
  const [many, one] = [batch(8), batch(1)];
  return {
    model,
    train: () => trainer.step([many]),
    answer: () =>
      adapter.predict(one, { samples: 10, noise: 'token', seed: 1, stochasticLayers: null }),
  };
}

/** Milliseconds of each call, one after another until the time is over. */
async function calls(work) {
  const taken = [];
  const end = performance.now() + Number(values.seconds) * 1000;
  while (performance.now() < end) {
    const start = performance.now();
    await work();
    taken.push(performance.now() - start);
  }
  return taken.sort((a, b) => a - b);
}

const rate = (taken) => Number((taken.length / Number(values.seconds)).toFixed(2));
const quantile = (taken, q) =>
  Number(taken[Math.min(taken.length - 1, Math.floor(q * taken.length))].toFixed(1));

const [first, second] = [await open(), await open()];
await Promise.all([first.train(), second.train(), second.answer()]);
const alone = rate(await calls(first.train));
const answersAlone = await calls(second.answer);
const [beside, answers] = await Promise.all([calls(first.train), calls(second.answer)]);
const both = await Promise.all([calls(first.train), calls(second.train)]);
console.log(
  JSON.stringify({
    model: values.model,
    steps_per_s_alone: alone,
    answer_ms_alone: [quantile(answersAlone, 0.5), quantile(answersAlone, 0.99)],
    steps_per_s_beside_answers: rate(beside),
    answer_ms_beside_training: [quantile(answers, 0.5), quantile(answers, 0.99)],
    steps_per_s_of_both: both.map(rate),
  }),
);
await Promise.all([first.model.dispose(), second.model.dispose()]);
