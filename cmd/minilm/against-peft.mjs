// against-peft.mjs RUNS STARTS DATASET: our runs of MLE (RUNS/DATASET-mle-seedN) beside those that
// peft_mle.py made from the same adapter, head and order of rows (STARTS/DATASET-seedN): updates,
// measures on the same rows, and how far answers lie apart; of the seeds that PyTorch has run.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { metricsReport } from '../../dist/metrics/report.js';
import { mean, printTable, spread } from '../statistics.mjs';

const [runs, starts, dataset] = process.argv.slice(2);
if (dataset === undefined) {
  process.stderr.write('usage: node cmd/minilm/against-peft.mjs RUNS STARTS DATASET\n');
  process.exit(2);
}
const startOf = (seed) => join(starts, `${dataset}-seed${seed}`);
const SEEDS = [1, 2, 3].filter((seed) => existsSync(join(startOf(seed), 'torch-answers.jsonl')));
const METRICS = ['acc', 'ece', 'nll', 'brier'];
const UPDATES = [1, 10, 50, 100, 200, 345];

const lines = (...path) =>
  readFileSync(join(...path), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
const answersOf = (rows) => rows.map(({ label, probs }) => ({ label, probs }));
const largest = (values) => values.reduce((most, value) => Math.max(most, value), 0);

const seeds = SEEDS.map((seed) => {
  const run = join(runs, `${dataset}-mle-seed${seed}`);
  const start = startOf(seed);
  const ours = lines(run, 'predictions', `${dataset}-validation-n0.jsonl`);
  return {
    seed,
    answers: [ours, lines(start, 'torch-answers.jsonl')].map(answersOf),
    updates: [
      lines(run, 'metrics.jsonl').filter(({ type }) => type === 'step'),
      lines(start, 'torch-updates.jsonl'),
    ].map((updates) => updates.map(({ nll }) => nll)),
  };
});

printTable(
  ['seed', ...UPDATES.map((update) => `NLL at update ${update}: bpeft, PyTorch`)],
  seeds.map(({ seed, updates }) => [
    seed,
    ...UPDATES.map((update) => updates.map((nlls) => nlls[update - 1]?.toFixed(4)).join(', ')),
  ]),
);
printTable(
  ['seed', 'who', ...METRICS.map((name) => name.toUpperCase())],
  ['bpeft', 'PyTorch + PEFT'].flatMap((who, side) => {
    const reports = seeds.map(({ answers }) => metricsReport(answers[side]).metrics);
    return [
      ...seeds.map(({ seed }, at) => [
        seed,
        who,
        ...METRICS.map((name) => reports[at][name].toFixed(3)),
      ]),
      ['all', who, ...METRICS.map((name) => spread(reports.map((report) => report[name])))],
    ];
  }),
);
printTable(
  ['seed', 'mean difference of p', 'largest', 'other decision'],
  seeds.map(({ seed, answers: [ours, theirs] }) => {
    const apart = ours.map(({ probs }, row) => Math.abs(probs[1] - theirs[row].probs[1]));
    const others = ours.filter(
      ({ probs }, row) => probs[1] > 0.5 !== theirs[row].probs[1] > 0.5,
    ).length;
    return [
      seed,
      mean(apart).toExponential(1),
      largest(apart).toExponential(1),
      `${others} of ${ours.length}`,
    ];
  }),
);
