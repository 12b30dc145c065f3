/**
 * How far the posterior samples' probabilities lie apart: the reference's `std`.
 *
 * ```text
 * std = (1 / Σ_i K_i) Σ_i Σ_k sqrt( (1 / (S − 1)) Σ_s (p_isk − p̄_ik)² )
 * rows i, classes k, samples s
 * ```
 *
 * Over all rows; the reference takes the last batch only.
 */

import { softmax } from './predictive.ts';

export class SampleSpread {
  #sum = 0;
  #count = 0;

  /**
   * Adds a batch.
   * @param logits (S × Σ K), sample-major
   * @param answerOffsets (B+1): prompt b has the classes `answerOffsets[b]..answerOffsets[b+1]`
   */
  add(logits: Float32Array, answerOffsets: Uint32Array, samples: number): void {
    if (samples < 2) return;
    const width = answerOffsets.at(-1) ?? 0;
    for (const [prompt, from] of answerOffsets.subarray(0, -1).entries()) {
      const to = answerOffsets[prompt + 1] ?? from;
      const probs = Array.from({ length: samples }, (_, sample) =>
        softmax(logits.subarray(sample * width + from, sample * width + to)),
      );
      for (let index = 0; index < to - from; index += 1) {
        this.#sum += deviation(probs.map((one) => one[index] ?? 0));
        this.#count += 1;
      }
    }
  }

  /** Null below two samples. */
  get mean(): number | null {
    return this.#count === 0 ? null : this.#sum / this.#count;
  }
}

/** The unbiased standard deviation. */
function deviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}
