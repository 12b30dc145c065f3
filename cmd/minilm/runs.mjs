// The answers of MiniLM's runs, as both tables here read them.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mean } from '../statistics.mjs';

/** Members of an ensemble, as `--members` has them unless told. */
const MEMBERS = 3;
/** Ensembles of these seeds, where their members were run. */
const SEEDS = [1, 2, 3];

/**
 * dataset → answers (`mle, N = 0`) → seed → rows of { label, probs }.
 *
 * Member j of an ensemble is the run of MLE with the ensemble's seed + j, and its answer the mean
 * of its members' probabilities: where those runs exist, an ensemble is made of them instead of
 * being trained once more. Ensembles of neighbouring seeds then share members.
 */
export function answersOf(runs) {
  const all = {};
  for (const { name, dataset, method, seed } of finished(runs)) {
    for (const file of readdirSync(join(runs, name, 'predictions'))) {
      const [, samples] = file.match(/-n(\d+)\.jsonl$/) ?? [];
      const text = readFileSync(join(runs, name, 'predictions', file), 'utf8').trimEnd();
      all[dataset] ??= {};
      all[dataset][`${method}, N = ${samples}`] ??= {};
      all[dataset][`${method}, N = ${samples}`][seed] = text.split('\n').map(rowOf);
    }
  }
  for (const answers of Object.values(all)) addEnsembles(answers);
  return all;
}

/** Finished runs below the folder, by the names that run-all.sh gives them. */
export function finished(runs) {
  return readdirSync(runs)
    .sort()
    .flatMap((name) => {
      const [, dataset, method, seed] = name.match(/^([a-z0-9]+)-(.+)-seed(\d+)$/) ?? [];
      const isDone = dataset !== undefined && existsSync(join(runs, name, 'result.json'));
      return isDone ? [{ name, dataset, method, seed: Number(seed) }] : [];
    });
}

function rowOf(line) {
  const { label, probs, mutual_information: mutualInformation } = JSON.parse(line);
  return { label, probs, mutualInformation };
}

function addEnsembles(answers) {
  const points = answers['mle, N = 0'] ?? {};
  for (const seed of SEEDS) {
    const members = Array.from({ length: MEMBERS }, (_, member) => points[seed + member]);
    const isThere = answers[`ensemble, N = ${MEMBERS}`]?.[seed] !== undefined;
    if (isThere || members.includes(undefined)) continue;
    answers[`ensemble, N = ${MEMBERS}`] ??= {};
    answers[`ensemble, N = ${MEMBERS}`][seed] = members[0].map(({ label, probs }, row) => ({
      label,
      probs: probs.map((_, index) => mean(members.map((rows) => rows[row].probs[index]))),
      mutualInformation: null,
    }));
  }
}
