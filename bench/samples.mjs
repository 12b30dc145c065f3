// node bench/samples.mjs --run FOLDER [--split test] [--limit 200] [--repeats 16] [--counts 2,4,8]:
// how close N samples come to many, for plain samples, antithetic pairs and an adaptive number. The
// run must be the demonstration's, or one with its settings: f32, sigma square, protocol corrected,
// a `builtin:` model and dataset.
//
// Truth: 2,048 plain samples of another seed. Error: root mean square over rows, classes and
// repeats (seeds) of the mean probability's difference from the truth, which has an error of its
// own of about 1/√2048 of a sample's. A decision is wrong where the most probable class is not the
// truth's.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { raggedBatch } from '../dist/batches/ragged-batch.js';
import { resolveDataset } from '../dist/datasets/registry.js';
import { encodeDataset } from '../dist/datasets/tokens/encode.js';
import { loadModel } from '../dist/index.js';
import { posteriorPredictive } from '../dist/metrics/predictive.js';
import { DATA_PROTOCOLS } from '../dist/protocol/data-protocol.js';
import { predictAdaptively } from '../dist/run/prediction/adaptive.js';

const { values } = parseArgs({
  options: {
    run: { type: 'string' },
    split: { type: 'string', default: 'test' },
    limit: { type: 'string', default: '200' },
    repeats: { type: 'string', default: '16' },
    counts: { type: 'string', default: '2,4,8,10,16,32,64' },
  },
});
const { config } = JSON.parse(readFileSync(`${values.run}/config.json`, 'utf8'));
const model = await loadModel({ model: config.model });
const adapter = await model.loadAdapter(`${values.run}/adapter`);
const source = await resolveDataset(config.dataset, {});
const dataset = await source.load(values.split, { limit: Number(values.limit) });
const { examples } = await encodeDataset(dataset, model, {
  protocol: DATA_PROTOCOLS.corrected,
  maxSeqLen: 300,
});
const chunks = Array.from({ length: Math.ceil(examples.length / 25) }, (_, i) =>
  examples.slice(i * 25, (i + 1) * 25),
);

/** (rows) lists of probabilities. */
async function predictive(samples, seed, sampling) {
  const probs = [];
  for (const chunk of chunks) {
    const batch = raggedBatch(chunk);
    const options = { samples, seed, sampling, noise: 'token', stochasticLayers: null };
    const logits = await adapter.predict(batch, options);
    probs.push(...posteriorPredictive(logits, batch.answerOffsets, samples).probs);
  }
  return probs;
}

const best = (row) => row.indexOf(Math.max(...row));

function compare(estimates, truth) {
  let squares = 0;
  let count = 0;
  let wrong = 0;
  let far = 0;
  for (const estimate of estimates) {
    for (const [row, probs] of estimate.entries()) {
      const chosen = best(probs);
      wrong += Number(chosen !== best(truth[row]));
      far += Number(Math.abs(probs[chosen] - truth[row][chosen]) > 0.02);
      for (const [k, p] of probs.entries()) {
        squares += (p - truth[row][k]) ** 2;
        count += 1;
      }
    }
  }
  const rows = estimates.length * truth.length;
  return { rmse: Math.sqrt(squares / count), wrong: wrong / rows, far: far / rows };
}

const truth = await predictive(2048, 999_983, 'plain');
const seeds = Array.from({ length: Number(values.repeats) }, (_, i) => i + 1);
const print = (name, { rmse, wrong, far }, more = '') =>
  process.stdout.write(
    `| ${name} | ${rmse.toFixed(4)} | ${(100 * wrong).toFixed(2)} % | ${(100 * far).toFixed(1)} % |${more}\n`,
  );
process.stdout.write(
  '| samples | error | other decision | off by more than 0.02 |\n|---|---|---|---|\n',
);
for (const n of values.counts.split(',').filter(Boolean).map(Number)) {
  for (const sampling of ['plain', 'antithetic']) {
    const estimates = [];
    for (const seed of seeds) estimates.push(await predictive(n, seed, sampling));
    print(`${n}${sampling === 'plain' ? '' : ' in pairs'}`, compare(estimates, truth));
  }
}
for (const sampling of ['plain', 'antithetic']) {
  const estimates = [];
  const used = [];
  let open = 0;
  for (const seed of seeds) {
    const rows = [];
    for (const chunk of chunks) {
      const rule = { dropout: 0, average: 'probabilities' };
      const settings = { noise: 'token', seed, sampling, stochasticLayers: null, rule };
      rows.push(...(await predictAdaptively(adapter, chunk, settings, undefined)));
    }
    estimates.push(rows.map(({ probs }) => probs));
    used.push(...rows.map(({ samples }) => samples));
    open += rows.filter(({ settled }) => !settled).length;
  }
  const mean = used.reduce((sum, n) => sum + n, 0) / used.length;
  print(
    `auto${sampling === 'plain' ? '' : ' in pairs'}`,
    compare(estimates, truth),
    ` ${mean.toFixed(1)} samples on average, ${((100 * open) / used.length).toFixed(1)} % open after the last look |`,
  );
}
await model.dispose();
