/**
 * The posterior predictive of N sampled forwards, and how far the samples disagree.
 *
 * ```text
 * p_s = softmax(z_s)        per prompt, over its own K_b classes
 * p̄ = (1/N) Σ_s p_s
 * total uncertainty H(p̄) = aleatoric (1/N) Σ_s H(p_s) + epistemic I;   I = H(p̄) − (1/N) Σ_s H(p_s) ≥ 0, nats
 * ```
 *
 * I is the mutual information between answer and weights (Houlsby et al., arXiv 1112.5745, §2).
 */

import { entropy } from './entropy.ts';
import { meanOf } from './mean.ts';
import type { Metric } from './metric.ts';

export const MUTUAL_INFORMATION: Metric<'mutualInformation'> = {
  id: 'mutualInformation',
  definition: () =>
    'mean over rows of (entropy of the mean probabilities - mean entropy of the samples), nats',
  compute: (rows) => {
    const known = rows
      .map(({ mutualInformation }) => mutualInformation ?? null)
      .filter((i) => i !== null);
    return known.length === 0 || known.length < rows.length ? null : meanOf(known);
  },
};

/** How samples become one answer: p̄ as above, or softmax(z̄) with z̄ = (1/N) Σ_s z_s. */
export type Average = 'probabilities' | 'logits';

export interface Predictive {
  /** (B) lists of K_b probabilities. */
  readonly probs: Float64Array[];
  /** (B) entropy of the mean probabilities, nats. */
  readonly entropy: Float64Array;
  /** (B) nats; null below two samples. */
  readonly mutualInformation: Float64Array | null;
}

/**
 * @param logits (max(N, 1) × S), sample-major, S = Σ_b K_b
 * @param answerOffsets (B+1): prompt b has the classes `answerOffsets[b]..answerOffsets[b+1]`
 * @param samples N; 0 is the posterior mean, one row of logits
 * @param average of logits there is no I: how far samples disagree is lost in their mean
 */
export function posteriorPredictive(
  logits: Float32Array | Float64Array,
  answerOffsets: Uint32Array,
  samples: number,
  average: Average = 'probabilities',
): Predictive {
  const passes = Math.max(1, samples);
  const prompts = answerOffsets.length - 1;
  const classes = answerOffsets[prompts] ?? 0;
  if (logits.length !== passes * classes) {
    throw new TypeError(`logits must hold ${passes} × ${classes} values, got ${logits.length}`);
  }
  if (average === 'logits')
    return posteriorPredictive(meanLogits(logits, classes), answerOffsets, 0);
  const probs: Float64Array[] = [];
  const entropies = new Float64Array(prompts);
  const information = new Float64Array(prompts);
  for (let prompt = 0; prompt < prompts; prompt += 1) {
    const start = answerOffsets[prompt] ?? 0;
    const end = answerOffsets[prompt + 1] ?? start;
    const mean = new Float64Array(end - start);
    let sampleEntropy = 0;
    for (let pass = 0; pass < passes; pass += 1) {
      const sample = softmax(logits.subarray(pass * classes + start, pass * classes + end));
      for (const [index, p] of sample.entries()) mean[index] = (mean[index] ?? 0) + p / passes;
      sampleEntropy += entropy(sample) / passes;
    }
    probs.push(mean);
    entropies[prompt] = entropy(mean);
    // Rounding may take equal samples a hair below zero.
    information[prompt] = Math.max(0, entropy(mean) - sampleEntropy);
  }
  return { probs, entropy: entropies, mutualInformation: samples < 2 ? null : information };
}

/** z̄ (S), in float64. */
function meanLogits(logits: Float32Array | Float64Array, classes: number): Float64Array {
  const mean = new Float64Array(classes);
  const share = classes / logits.length;
  for (const [index, logit] of logits.entries()) {
    mean[index % classes] = (mean[index % classes] ?? 0) + logit * share;
  }
  return mean;
}

/** (K) → (K), in float64. */
export function softmax(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits);
  const largest = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const powers = values.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
