// table.mjs FOLDER: what run.sh found. Trained: mean ± standard deviation over seeds. Evaluated:
// probabilities of the same adapter against f32's.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mean, printTable, spread } from '../statistics.mjs';

const [folder = 'runs/precision'] = process.argv.slice(2);
const NAMES = ['f32', 'bf16', 'int8', 'f32-q4_k', 'f32-nf4'].filter((name) =>
  existsSync(join(folder, name)),
);
const SPLITS = ['test', 'shift'];
const seedsOf = (name) => readdirSync(join(folder, name)).sort();
const result = (name, seed) =>
  JSON.parse(readFileSync(join(folder, name, seed, 'result.json'), 'utf8'));
const predictions = (name, seed, split, samples) =>
  readFileSync(
    join(folder, name, seed, 'predictions', `builtin-exam-topics-${split}-n${samples}.jsonl`),
    'utf8',
  )
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).probs);
const best = (probs) => probs.indexOf(Math.max(...probs));

printTable(
  ['trained in', 'split', 'ACC', 'ECE', 'NLL'],
  NAMES.flatMap((name) =>
    SPLITS.map((split) => {
      const metrics = seedsOf(name).map(
        (seed) =>
          result(name, seed).evaluations.find((it) => it.split === split && it.samples === 10)
            .metrics,
      );
      return [
        name,
        split,
        ...['acc', 'ece', 'nll'].map((key) => spread(metrics.map((it) => it[key]))),
      ];
    }),
  ),
);

/** The same adapters evaluated in `name`, against f32. */
function difference(name, split, samples) {
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
      result(run, seed).evaluations.find((it) => it.split === split && it.samples === samples)
        .metrics.nll;
    nll.push(of(`evaluated-${name}`) - of('evaluated-f32'));
  }
  return [
    mean(differences).toFixed(4),
    Math.max(...differences).toFixed(3),
    `${((100 * decisions) / differences.length).toFixed(2)} %`,
    mean(nll).toFixed(4),
  ];
}

printTable(
  [
    'evaluated in',
    'split',
    'N',
    'mean difference of the largest p',
    'largest difference',
    'other decision',
    'NLL minus f32',
  ],
  NAMES.slice(1).flatMap((name) =>
    SPLITS.flatMap((split) =>
      [0, 10].map((samples) => [name, split, samples, ...difference(name, split, samples)]),
    ),
  ),
);
