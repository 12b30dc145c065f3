// tuned.mjs FOLDER: validation NLL, accuracy and ECE of each setting of tune.sh, mean over its
// seeds, best NLL first.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder = 'runs/demo-tune'] = process.argv.slice(2);
const lines = [];
for (const name of readdirSync(folder)) {
  const results = readdirSync(join(folder, name))
    .map((seed) => join(folder, name, seed, 'result.json'))
    .filter((path) => existsSync(path))
    .map((path) => JSON.parse(readFileSync(path, 'utf8')));
  const counts = results[0]?.evaluations.map(({ samples }) => samples) ?? [];
  for (const [index, samples] of counts.entries()) {
    const mean = (metric) =>
      results.reduce((sum, { evaluations }) => sum + evaluations[index].metrics[metric], 0) /
      results.length;
    lines.push({
      name,
      samples,
      seeds: results.length,
      nll: mean('nll'),
      acc: mean('acc'),
      ece: mean('ece'),
    });
  }
}
lines.sort((a, b) => a.nll - b.nll);
for (const { name, samples, seeds, nll, acc, ece } of lines) {
  process.stdout.write(
    `nll ${nll.toFixed(4)}  acc ${acc.toFixed(3)}  ece ${ece.toFixed(3)}  N ${samples}  ${name} (${seeds} seeds)\n`,
  );
}
