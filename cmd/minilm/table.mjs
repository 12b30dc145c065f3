// table.mjs [RUNS] [TARGET]: MiniLM's runs over seeds, and the share of the most frequent class;
// copies each result.json to TARGET, to be committed (never rows or predictions).

import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { metricsReport } from '../../dist/metrics/report.js';
import { printTable, spread } from '../statistics.mjs';
import { answersOf, finished } from './runs.mjs';

const [runs = 'runs/minilm', target] = process.argv.slice(2);
const METRICS = ['acc', 'ece', 'nll', 'brier', 'mcc', 'f1'];

if (target !== undefined) {
  mkdirSync(target, { recursive: true });
  for (const { name } of finished(runs))
    copyFileSync(join(runs, name, 'result.json'), join(target, `${name}.json`));
}

/** Over seeds 1 to 3, as long as there are these; further ones are members of ensembles. */
const SEEDS = [1, 2, 3];
const rows = Object.entries(answersOf(runs)).flatMap(([dataset, answers]) =>
  Object.entries(answers).map(([who, bySeed]) => {
    const seeds = SEEDS.filter((seed) => bySeed[seed] !== undefined);
    const reports = seeds.map((seed) => metricsReport(bySeed[seed]));
    const [{ n }] = reports;
    const floor = spread(reports.map(({ metrics }) => metrics.eceNoiseFloor));
    return [
      `${dataset} (${n})`,
      mostFrequent(Object.values(bySeed)[0]).toFixed(3),
      who,
      seeds.join(', '),
      ...METRICS.map((name) => spread(reports.map(({ metrics }) => metrics[name]))),
      floor.split(' ')[0],
    ];
  }),
);
const head = ['dataset', 'majority', 'method', 'seeds'];
printTable([...head, 'ACC', 'ECE', 'NLL', 'Brier', 'MCC', 'F1', 'floor of ECE'], rows);

function mostFrequent(answers) {
  const shares = answers[0].probs.map(
    (_, label) => answers.filter((row) => row.label === label).length / answers.length,
  );
  return Math.max(...shares);
}
