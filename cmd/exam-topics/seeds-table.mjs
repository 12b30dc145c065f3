// seeds-table.mjs [RESULTS]: exam-topics over seeds and learning rates, from the committed
// result.json files of seeds.sh. Mean ± standard deviation over seeds; differences with a 95 % t
// interval over seeds, paired by seed.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { interval, printTable, spread } from '../statistics.mjs';

const [results = 'cmd/results'] = process.argv.slice(2);
const METRICS = ['acc', 'ece', 'nll', 'brier'];
const METHODS = [
  ['MLE', 'mle', 0],
  ['BLoB mean', 'blob', 0],
  ['BLoB N = 10', 'blob', 10],
];
/** Where a split's evaluation lies. */
const SPLITS = [
  ['shift', 'exam-topics-seeds', ''],
  ['test', 'exam-topics-seeds-eval', '-test'],
];

/** seed → metrics and number of rows, of the runs that are there. */
function metricsOf([split, folder, suffix], method, samples, lr) {
  const found = new Map();
  for (const name of existsSync(join(results, folder)) ? readdirSync(join(results, folder)) : []) {
    const [, seed] = name.match(new RegExp(`^${method}-lr${lr}-seed(\\d+)${suffix}\\.json$`)) ?? [];
    if (seed === undefined) continue;
    const { evaluations } = JSON.parse(readFileSync(join(results, folder, name), 'utf8'));
    const evaluation = evaluations.find((it) => it.split === split && it.samples === samples);
    if (evaluation !== undefined) found.set(seed, { ...evaluation.metrics, n: evaluation.n });
  }
  return found;
}

const trained = readdirSync(join(results, SPLITS[0][1]));
const rates = new Set(trained.map((name) => name.match(/-lr(.+)-seed/)?.[1]));
const rows = [];
const differences = [];
for (const lr of rates) {
  for (const split of SPLITS) {
    const mle = metricsOf(split, 'mle', 0, lr);
    for (const [label, method, samples] of METHODS) {
      const bySeed = metricsOf(split, method, samples, lr);
      if (bySeed.size === 0) continue;
      const all = [...bySeed.values()];
      const where = [lr, `${split[0]} (${all[0].n})`, label, [...bySeed.keys()].sort().join(', ')];
      rows.push([...where, ...METRICS.map((metric) => spread(all.map((it) => it[metric])))]);
      const pairs = [...bySeed].filter(([seed]) => method !== 'mle' && mle.has(seed));
      if (pairs.length === 0) continue;
      const minus = (metric) =>
        interval(pairs.map(([seed, it]) => it[metric] - mle.get(seed)[metric]));
      differences.push([...where, ...METRICS.map(minus)]);
    }
  }
}
const head = ['lr', 'split', 'method', 'seeds', 'ACC', 'ECE', 'NLL', 'Brier'];
printTable(head, rows);
printTable(head.with(2, 'minus MLE'), differences);
