// gains.mjs [RUNS]: what each method gains over the most frequent class, over the reference's
// accounting and over MLE, row by row: paired 95 % bootstrap intervals over rows, of means over the
// seeds that both have. The ECE of a resample is biased upwards, of both alike. The most frequent
// class is answered with its share in these rows, which flatters it.

import { bootstrap } from '../../dist/metrics/bootstrap.js';
import { MEASURES, rowMeasures } from '../../dist/metrics/row-measures.js';
import { mean, printTable } from '../statistics.mjs';
import { answersOf } from './runs.mjs';

const [runs = 'runs/minilm'] = process.argv.slice(2);
/** What is gained over, and by whom: all, unless named. */
const OVER = {
  majority: ['reference, N = 0', 'mle, N = 0'],
  'reference, N = 0': ['mle, N = 0'],
  'mle, N = 0': null,
};
const SEEDS = ['1', '2', '3'];

function majority(rows) {
  const shares = rows[0].probs.map(
    (_, label) => rows.filter((row) => row.label === label).length / rows.length,
  );
  return rows.map(({ label }) => ({ label, probs: shares }));
}

/** Measures of drawn rows minus the others', the mean over the seeds that both have. */
function differences(mine, others) {
  const seeds = SEEDS.filter((seed) => mine[seed] !== undefined && others?.[seed] !== undefined);
  if (seeds.length === 0) return undefined;
  const pairs = seeds.map((seed) => [rowMeasures(mine[seed]), rowMeasures(others[seed])]);
  const n = mine[seeds[0]].length;
  const intervals = bootstrap([n], ([draw]) => {
    const both = pairs.map((pair) => pair.map((measuresOf) => measuresOf(draw)));
    return Object.fromEntries(
      MEASURES.map((name) => [name, mean(both.map(([one, other]) => one[name] - other[name]))]),
    );
  });
  return { seeds, intervals };
}

const signed = (value) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
const shown = ({ value, lower, upper }) =>
  `${signed(value)} (${signed(lower)} to ${signed(upper)})`;
const table = [];
for (const [dataset, methods] of Object.entries(answersOf(runs))) {
  const [bySeed] = Object.values(methods);
  const constant = majority(Object.values(bySeed)[0]);
  methods.majority = Object.fromEntries(SEEDS.map((seed) => [seed, constant]));
  for (const [over, named] of Object.entries(OVER)) {
    for (const [who, mine] of Object.entries(methods)) {
      if (named === null ? Object.hasOwn(OVER, who) : !named.includes(who)) continue;
      const found = differences(mine, methods[over]);
      if (found === undefined) continue;
      const { seeds, intervals } = found;
      const values = MEASURES.map((name) => shown(intervals[name]));
      table.push([dataset, who, over.replace(', N = 0', ''), seeds.join(', '), ...values]);
    }
  }
}
printTable(['dataset', 'method', 'minus', 'seeds', 'ACC', 'ECE', 'NLL', 'Brier'], table);
