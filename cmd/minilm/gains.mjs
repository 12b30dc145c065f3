// gains.mjs [RUNS]: what each method gains over the most frequent class, over the reference's
// accounting and over MLE, row by row: paired 95 % bootstrap intervals over rows, of means over the
// seeds that both have. The most frequent class is answered with its share in these rows, which
// flatters it.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootstrap } from '../../dist/metrics/bootstrap.js';
import { mean, printTable } from '../statistics.mjs';

const [runs = 'runs/minilm'] = process.argv.slice(2);
const OVER = ['majority', 'reference', 'mle'];

/** dataset → answers' name → seed → rows of { label, probs } */
const all = {};
for (const name of readdirSync(runs).sort()) {
  const [, dataset, method, seed] = name.match(/^([a-z0-9]+)-(.+)-seed(\d+)$/) ?? [];
  if (dataset === undefined) continue;
  for (const file of readdirSync(join(runs, name, 'predictions'))) {
    const [, samples] = file.match(/-n(\d+)\.jsonl$/) ?? [];
    const text = readFileSync(join(runs, name, 'predictions', file), 'utf8').trimEnd();
    const who = samples === '0' ? method : `${method}, N = ${samples}`;
    const rows = text.split('\n').map((line) => JSON.parse(line));
    all[dataset] ??= {};
    all[dataset][who] ??= {};
    all[dataset][who][seed] = rows;
  }
}

function majority(rows) {
  const shares = rows[0].probs.map(
    (_, label) => rows.filter((row) => row.label === label).length / rows.length,
  );
  return rows.map((row) => ({ ...row, probs: shares }));
}

const measures = {
  ACC: ({ label, probs }) => Number(probs.indexOf(Math.max(...probs)) === label),
  NLL: ({ label, probs }) => -Math.log(probs[label]),
};

/** Rows of differences, each the mean over the seeds that both have. */
function differences(mine, others) {
  const seeds = Object.keys(mine).filter((seed) => others?.[seed] !== undefined);
  if (seeds.length === 0) return undefined;
  const rows = mine[seeds[0]].map((_, row) =>
    Object.values(measures).map((of) =>
      mean(seeds.map((seed) => of(mine[seed][row]) - of(others[seed][row]))),
    ),
  );
  return { seeds: seeds.length, rows };
}

const signed = (value) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
const shown = ({ value, lower, upper }) =>
  `${signed(value)} (${signed(lower)} to ${signed(upper)})`;
const names = Object.keys(measures);
const table = [];
for (const [dataset, methods] of Object.entries(all)) {
  const [bySeed] = Object.values(methods);
  const constant = majority(Object.values(bySeed)[0]);
  methods.majority = Object.fromEntries(Object.keys(bySeed).map((seed) => [seed, constant]));
  for (const [at, over] of OVER.entries()) {
    for (const [who, mine] of Object.entries(methods)) {
      if (OVER.slice(0, at + 1).includes(who)) continue;
      const found = differences(mine, methods[over]);
      if (found === undefined) continue;
      const { seeds, rows } = found;
      const meanOf = (index, draw) => draw.reduce((sum, row) => sum + rows[row][index], 0);
      const intervals = bootstrap([rows.length], ([draw]) =>
        Object.fromEntries(names.map((name, index) => [name, meanOf(index, draw) / draw.length])),
      );
      table.push([dataset, who, over, seeds, ...names.map((name) => shown(intervals[name]))]);
    }
  }
}
printTable(['dataset', 'method', 'minus', 'seeds', ...names], table);
