// table.mjs [RESULTS]: the demonstration over its seeds, from the committed `bpeft demo --json`
// files. Mean ± standard deviation over seeds; differences with a 95 % t interval over seeds,
// paired by seed.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { interval, printTable, spread } from '../statistics.mjs';

const [results = 'cmd/results/demo'] = process.argv.slice(2);
const demos = readdirSync(results)
  .filter((name) => /^seed-\d+\.json$/.test(name))
  .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  .map((name) => JSON.parse(readFileSync(join(results, name), 'utf8')));
const METRICS = ['acc', 'ece', 'nll', 'brier'];

const [first] = demos;
process.stdout.write(`${demos.length} seeds: ${demos.map(({ seed }) => seed).join(', ')}\n\n`);
printTable(
  ['split', 'method', 'ACC', 'ECE', 'NLL', 'Brier', 'AUROC of ood'],
  first.splits.flatMap(({ split, n, methods }, place) =>
    methods.map(({ name }, index) => [
      `${split} (${n})`,
      name,
      ...METRICS.map((metric) =>
        spread(demos.map((demo) => demo.splits[place].methods[index].metrics[metric].value)),
      ),
      place === 0 ? spread(demos.map((demo) => demo.detection.methods[index].auroc.value)) : '',
    ]),
  ),
);
printTable(
  ['split', 'minus MLE', 'ACC', 'ECE', 'NLL', 'Brier'],
  first.splits.flatMap(({ split, methods }, place) =>
    methods
      .slice(1)
      .map(({ name }, index) => [
        split,
        name,
        ...METRICS.map((metric) =>
          interval(
            demos.map((demo) => demo.splits[place].methods[index + 1].difference[metric].value),
          ),
        ),
      ]),
  ),
);
