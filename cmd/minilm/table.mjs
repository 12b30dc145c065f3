// table.mjs [RUNS] [TARGET]: MiniLM's runs over seeds, and the share of the most frequent class;
// copies each result.json to TARGET, to be committed (never rows or predictions).

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { printTable, spread } from '../statistics.mjs';

const [runs = 'runs/minilm', target] = process.argv.slice(2);
const METRICS = ['acc', 'ece', 'nll', 'brier', 'mcc', 'f1'];

/** dataset, method, samples → metrics of each seed */
const groups = new Map();
const majorities = new Map();
for (const name of readdirSync(runs).sort()) {
  const [, dataset, method] = name.match(/^([a-z0-9]+)-(.+)-seed\d+$/) ?? [];
  const path = join(runs, name, 'result.json');
  if (dataset === undefined || !existsSync(path)) continue;
  if (target !== undefined) {
    mkdirSync(target, { recursive: true });
    copyFileSync(path, join(target, `${name}.json`));
  }
  const { evaluations } = JSON.parse(readFileSync(path, 'utf8'));
  for (const { metrics, n, samples, split } of evaluations) {
    const key = JSON.stringify([dataset, method, samples, n]);
    groups.set(key, [...(groups.get(key) ?? []), metrics]);
    if (!majorities.has(dataset))
      majorities.set(dataset, majority(join(runs, name), dataset, split, samples));
  }
}

function majority(run, dataset, split, samples) {
  const lines = readFileSync(
    join(run, 'predictions', `${dataset}-${split}-n${samples}.jsonl`),
    'utf8',
  );
  const counts = new Map();
  for (const line of lines.trimEnd().split('\n')) {
    const { label } = JSON.parse(line);
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  const all = [...counts.values()];
  return Math.max(...all) / all.reduce((sum, count) => sum + count, 0);
}

const rows = [...groups].map(([key, metrics]) => {
  const [dataset, method, samples, n] = JSON.parse(key);
  const values = METRICS.map((name) => spread(metrics.map((one) => one[name])));
  const rate = majorities.get(dataset).toFixed(3);
  return [`${dataset} (${n})`, rate, `${method}, N = ${samples}`, metrics.length, ...values];
});
printTable(
  ['dataset', 'majority', 'method', 'seeds', 'ACC', 'ECE', 'NLL', 'Brier', 'MCC', 'F1'],
  rows,
);
