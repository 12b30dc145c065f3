// table.mjs [RESULTS]: the tables of docs/results.md, from the committed result.json files.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { printTable } from '../statistics.mjs';

const [results = 'cmd/results'] = process.argv.slice(2);
const read = (group) =>
  existsSync(join(results, group))
    ? readdirSync(join(results, group))
        .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
        .map((name) => [
          name.replace('.json', ''),
          JSON.parse(readFileSync(join(results, group, name), 'utf8')),
        ])
    : [];
const shown = (value) =>
  typeof value === 'number' ? value.toFixed(3) : value === null ? '–' : String(value);
const metrics = ({ acc, ece, nll, brier, entropy, mutual_information }) =>
  [acc, ece, nll, brier, entropy, mutual_information].map(shown);
const head = ['ACC', 'ECE', 'NLL', 'Brier', 'entropy', 'mutual information'];

process.stdout.write('Validation, by which --kl-lr is chosen:\n\n');
printTable(
  ['run', 'N', 'rows', ...head],
  read('exam-topics').map(([name, { evaluations }]) => {
    const [first] = evaluations;
    return [name, first.samples, first.n, ...metrics(first.metrics)];
  }),
);
for (const group of ['exam-topics-eval', 'arc-easy-reference', 'exam-topics-as-arc-easy']) {
  process.stdout.write(`${group}:\n\n`);
  printTable(
    ['run', 'dataset', 'split', 'N', 'rows', ...head],
    read(group).flatMap(([name, { evaluations }]) =>
      evaluations.map(({ dataset, split, samples, n, metrics: values }) => [
        name.replace(/-(test|shift-ood)$/, ''),
        dataset,
        split,
        samples,
        n,
        ...metrics(values),
      ]),
    ),
  );
}
