// table.mjs FOLDER: what run.sh found. Trained: mean ± standard deviation over seeds. Evaluated: probabilities of the same adapter against f32's.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder = 'runs/precision'] = process.argv.slice(2);
const NAMES = ['f32', 'bf16', 'int8', 'f32-q4_k'];
const SPLITS = ['test', 'shift'];
const seedsOf = (name) => readdirSync(join(folder, name)).sort();
const result = (name, seed) => JSON.parse(readFileSync(join(folder, name, seed, 'result.json'), 'utf8'));
const predictions = (name, seed, split, samples) =>
  readFileSync(
    join(folder, name, seed, 'predictions', `builtin-exam-topics-${split}-n${samples}.jsonl`),
    'utf8',
  )
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).probs);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const std = (values) =>
  Math.sqrt(values.reduce((sum, v) => sum + (v - mean(values)) ** 2, 0) / (values.length - 1));
const best = (probs) => probs.indexOf(Math.max(...probs));

process.stdout.write('| trained in | split | ACC | ECE | NLL |\n| --- | --- | --- | --- | --- |\n');
for (const name of NAMES) {
  for (const split of SPLITS) {
    const metrics = seedsOf(name).map(
      (seed) => result(name, seed).evaluations.find((it) => it.split === split && it.samples === 10).metrics,
    );
    const cells = ['acc', 'ece', 'nll'].map((key) => {
      const values = metrics.map((it) => it[key]);
      return `${mean(values).toFixed(3)} ± ${std(values).toFixed(3)}`;
    });
    process.stdout.write(`| ${name} | ${split} | ${cells.join(' | ')} |\n`);
  }
}

process.stdout.write(
  '\n| evaluated in | split | N | mean difference of the largest p | largest difference | other decision | NLL minus f32 |\n| --- | --- | --- | --- | --- | --- | --- |\n',
);
for (const name of NAMES.slice(1)) {
  for (const split of SPLITS) {
    for (const samples of [0, 10]) {
      const differences = [];
      let decisions = 0;
      const nll = [];
      for (const seed of seedsOf(`evaluated-${name}`)) {
        const exact = predictions('evaluated-f32', seed, split, samples);
        for (const [row, probs] of predictions(`evaluated-${name}`, seed, split, samples).entries()) {
          const chosen = best(exact[row]);
          differences.push(Math.abs(probs[chosen] - exact[row][chosen]));
          decisions += Number(best(probs) !== chosen);
        }
        const of = (run) =>
          result(run, seed).evaluations.find((it) => it.split === split && it.samples === samples).metrics
            .nll;
        nll.push(of(`evaluated-${name}`) - of('evaluated-f32'));
      }
      const largest = Math.max(...differences);
      process.stdout.write(
        `| ${name} | ${split} | ${samples} | ${mean(differences).toFixed(4)} | ${largest.toFixed(3)} | ${((100 * decisions) / differences.length).toFixed(2)} % | ${mean(nll).toFixed(4)} |\n`,
      );
    }
  }
}
