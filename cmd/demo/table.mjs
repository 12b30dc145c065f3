// table.mjs [RESULTS]: the demonstration over its seeds, from the committed `bpeft demo --json` files.
// Mean ± standard deviation over seeds; differences with a 95 % t interval over seeds, paired by seed.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [results = 'cmd/results/demo'] = process.argv.slice(2);
const demos = readdirSync(results)
  .filter((name) => /^seed-\d+\.json$/.test(name))
  .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  .map((name) => JSON.parse(readFileSync(join(results, name), 'utf8')));
const METRICS = ['acc', 'ece', 'nll', 'brier'];
/** Student's t, 97.5 %, by degrees of freedom. */
const T = [Number.NaN, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values) => {
  const center = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1));
};
const spread = (values) => `${mean(values).toFixed(3)} ± ${deviation(values).toFixed(3)}`;
const signed = (value) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
const interval = (values) => {
  const half = ((T[values.length - 1] ?? 1.96) * deviation(values)) / Math.sqrt(values.length);
  return `${signed(mean(values))} (${signed(mean(values) - half)} to ${signed(mean(values) + half)})`;
};
const print = (head, rows) => {
  for (const row of [head, head.map(() => '---'), ...rows]) process.stdout.write(`| ${row.join(' | ')} |\n`);
  process.stdout.write('\n');
};

const [first] = demos;
process.stdout.write(`${demos.length} seeds: ${demos.map(({ seed }) => seed).join(', ')}\n\n`);
print(
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
print(
  ['split', 'minus MLE', 'ACC', 'ECE', 'NLL', 'Brier'],
  first.splits.flatMap(({ split, methods }, place) =>
    methods
      .slice(1)
      .map(({ name }, index) => [
        split,
        name,
        ...METRICS.map((metric) =>
          interval(demos.map((demo) => demo.splits[place].methods[index + 1].difference[metric].value)),
        ),
      ]),
  ),
);
