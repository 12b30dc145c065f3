// node bench/stopping.mjs [--rows 2000] [--grid first|drawn] [--seed 20261128] [--rules …]
//   what stopping rules do to rows of known laws (bench/stopping-laws.mjs), for
//   docs/performance.md. `exceeds`: laws of which more than 5 % of the stopped rows are broken
//   (one-sided binomial, 99 %).
// node bench/stopping.mjs --run FOLDER [--limit 50]
//   the same for rows of a run of the demonstration; truth: 1,000 samples in pairs, another seed.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { raggedBatch } from '../dist/batches/ragged-batch.js';
import { resolveDataset } from '../dist/datasets/registry.js';
import { encodeDataset } from '../dist/datasets/tokens/encode.js';
import { loadModel } from '../dist/index.js';
import { randomBelow } from '../dist/metrics/random.js';
import { DATA_PROTOCOLS } from '../dist/protocol/data-protocol.js';
import * as current from '../dist/run/prediction/stopping-rule.js';
import { drawnGrid, firstGrid, softmax } from './stopping-laws.mjs';
import { bernstein, student } from './stopping-rules.mjs';
import { exceeds, isBroken, meanRow, simulate } from './stopping-simulation.mjs';

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '2000' },
    grid: { type: 'string', default: 'first' },
    seed: { type: 'string', default: '20261128' },
    rules: { type: 'string', default: 'student,auto,bernstein' },
    run: { type: 'string' },
    limit: { type: 'string', default: '50' },
  },
});
const known = { student, auto: current, bernstein };
const rules = values.rules.split(',').map((name) => [name, known[name]]);
const SAMPLING = { plain: 1, antithetic: 2 };
const percent = (share) => (Number.isNaN(share) ? '–' : `${(100 * share).toFixed(1)} %`);
const print = (cells) => process.stdout.write(`| ${cells.join(' | ')} |\n`);

function fromLaws() {
  const laws = values.grid === 'drawn' ? drawnGrid(randomBelow(Number(values.seed))) : firstGrid();
  print([
    'rule',
    'samples',
    'laws',
    'exceeds',
    'worst',
    'of law',
    'stopped',
    'before the cap',
    'mean',
  ]);
  print(Array(9).fill('---'));
  for (const law of laws) law.mean = law.truth(randomBelow(77));
  for (const [name, rule] of rules) {
    for (const [sampling, perUnit] of Object.entries(SAMPLING)) {
      for (const family of new Set(laws.map((law) => law.family))) {
        const found = laws
          .filter((law) => law.family === family)
          .map((law) => {
            const draw = randomBelow(3);
            const counts = simulate(law, rule, {
              rows: Number(values.rows),
              perUnit,
              draw,
              truth: law.mean,
            });
            return { law, ...counts };
          });
        // A rate of a handful of rows says nothing: the worst is sought where 1 % of rows stop.
        const rate = ({ broken, stopped, rows }) => (stopped >= 0.01 * rows ? broken / stopped : 0);
        const worst = found.reduce((a, b) => (rate(b) > rate(a) ? b : a));
        const mean = (value) => found.reduce((sum, one) => sum + value(one), 0) / found.length;
        print([
          name,
          sampling,
          `${family}, ${found.length}`,
          found.filter((one) => exceeds(one)).length,
          percent(rate(worst)),
          rate(worst) === 0 ? '' : worst.law.name,
          percent(mean((one) => one.stopped / one.rows)),
          percent(mean((one) => one.early / one.rows)),
          mean((one) => one.samples).toFixed(0),
        ]);
      }
    }
  }
}

async function fromRun() {
  const { config } = JSON.parse(readFileSync(`${values.run}/config.json`, 'utf8'));
  const model = await loadModel({ model: config.model });
  const adapter = await model.loadAdapter(`${values.run}/adapter`);
  const source = await resolveDataset(config.dataset, {});
  print(['rule', 'split', 'samples', 'rows', 'stopped', 'before the cap', 'mean', 'broken']);
  print(Array(8).fill('---'));
  for (const split of ['test', 'shift']) {
    const dataset = await source.load(split, { limit: Number(values.limit) });
    const { examples } = await encodeDataset(dataset, model, {
      protocol: DATA_PROTOCOLS.corrected,
      maxSeqLen: 300,
    });
    const draw = async (samples, seed, sampling) => {
      const rows = examples.map(() => []);
      for (let from = 0; from < examples.length; from += 25) {
        const batch = raggedBatch(examples.slice(from, from + 25));
        const options = { samples, seed, sampling, noise: 'token', stochasticLayers: null };
        const logits = await adapter.predict(batch, options);
        const width = batch.answers.length;
        for (let at = 0; at < samples * (batch.answerOffsets.length - 1); at += 1) {
          const [row, sample] = [Math.floor(at / samples), at % samples];
          const [first, end] = [batch.answerOffsets[row], batch.answerOffsets[row + 1]];
          const ofSample = logits.subarray(sample * width + first, sample * width + end);
          rows[from + row].push(softmax(ofSample));
        }
      }
      return rows;
    };
    const truths = (await draw(1000, 999_983, 'antithetic')).map(meanRow);
    for (const [sampling, perUnit] of Object.entries(SAMPLING)) {
      const streams = await draw(256, perUnit === 2 ? 1 : 2, sampling);
      for (const [name, rule] of rules) {
        const looks = rule.looksFor(perUnit).map((units) => units * perUnit);
        const ends = streams.map((stream, row) => {
          const end = looks.find((look) => rule.isSteady(stream.slice(0, look), perUnit));
          const spent = end ?? looks.at(-1);
          const broken = end !== undefined && isBroken(meanRow(stream.slice(0, end)), truths[row]);
          return { stopped: end !== undefined, early: spent < looks.at(-1), spent, broken };
        });
        const count = (key) => ends.filter((end) => end[key]).length;
        const mean = ends.reduce((sum, { spent }) => sum + spent, 0) / ends.length;
        const shares = [
          percent(count('stopped') / ends.length),
          percent(count('early') / ends.length),
        ];
        const broken = `${count('broken')} of ${count('stopped')}`;
        print([name, split, sampling, ends.length, ...shares, mean.toFixed(0), broken]);
      }
    }
  }
  await model.dispose();
}

await (values.run === undefined ? fromLaws() : fromRun());
