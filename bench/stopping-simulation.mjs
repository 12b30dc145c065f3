// What a stopping rule does to rows whose law is known.
//
// A row is broken if it stopped and the reported probability of the chosen class is more than
// ε = 0.02 from the law's, or another class of the law leads the chosen one by more than that.

import { normals, softmax } from './stopping-laws.mjs';

const TOLERANCE = 0.02;

export function isBroken(mean, truth) {
  const chosen = mean.indexOf(Math.max(...mean));
  return (
    Math.abs(mean[chosen] - truth[chosen]) > TOLERANCE ||
    Math.max(...truth) - truth[chosen] > TOLERANCE
  );
}

/** (n, K) → (K) */
export function meanRow(rows) {
  const mean = new Float64Array(rows[0].length);
  for (const row of rows) {
    for (let k = 0; k < mean.length; k += 1) mean[k] += row[k] / rows.length;
  }
  return mean;
}

/**
 * How many of `rows` stop, how many of these are broken, how many samples a row takes on average.
 * @param rule { isSteady(samples, perUnit), looksFor(perUnit) }, as
 * ts/run/prediction/stopping-rule.ts
 * @param draw what draws: `randomBelow(seed)`
 */
export function simulate(law, rule, { rows, perUnit, draw, truth }) {
  const next = normals(draw);
  const z = new Float64Array(law.normals);
  const logits = new Float64Array(law.classes);
  const looks = rule.looksFor(perUnit).map((units) => units * perUnit);
  const found = { rows, stopped: 0, early: 0, broken: 0, samples: 0 };
  for (let row = 0; row < rows; row += 1) {
    const samples = [];
    let steady = false;
    for (const look of looks) {
      while (samples.length < look) {
        const mirrored = perUnit === 2 && samples.length % 2 === 1;
        for (let at = 0; at < z.length; at += 1) z[at] = mirrored ? -z[at] : next();
        law.logits(z, logits);
        samples.push(softmax(logits));
      }
      steady = rule.isSteady(samples, perUnit);
      if (steady) break;
    }
    found.samples += samples.length / rows;
    if (!steady) continue;
    found.stopped += 1;
    if (samples.length < looks.at(-1)) found.early += 1;
    if (isBroken(meanRow(samples), truth)) found.broken += 1;
  }
  return found;
}

/** Whether `broken` of `stopped` refutes a rate of at most 5 % (one-sided binomial, 99 %). */
export function exceeds({ broken, stopped }, rate = 0.05) {
  let [logTerm, below] = [stopped * Math.log(1 - rate), 0];
  for (let k = 0; k < broken; k += 1) {
    below += Math.exp(logTerm);
    logTerm += Math.log(((stopped - k) / (k + 1)) * (rate / (1 - rate)));
  }
  return broken > 0 && 1 - below < 0.01;
}
