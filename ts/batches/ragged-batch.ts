/** Examples as the engine takes them: typed arrays of T tokens and B prompts, no padding. */

import type { EncodedExample } from '../datasets/tokens/encode.ts';

/** The engine's `NativeBatch`. */
export interface RaggedBatch {
  /** (T) token ids. */
  ids: Uint32Array;
  /** (B+1) prompt b = ids[offsets[b]..offsets[b+1]]. */
  offsets: Uint32Array;
  /** (S) class tokens of all prompts, S = Σ K_b. */
  answers: Uint32Array;
  /** (B+1) */
  answerOffsets: Uint32Array;
  /** (B) class within the prompt's own answers; −1 = none. */
  labels: Int32Array;
  /** (B) whose noise each row sees. */
  rows: Uint32Array;
}

export function raggedBatch(examples: readonly EncodedExample[]): RaggedBatch {
  const offsets = prefixSums(examples.map(({ ids }) => ids.length));
  const answerOffsets = prefixSums(examples.map(({ answers }) => answers.length));
  const ids = new Uint32Array(offsets.at(-1) ?? 0);
  const answers = new Uint32Array(answerOffsets.at(-1) ?? 0);
  for (const [index, example] of examples.entries()) {
    ids.set(example.ids, offsets[index]);
    answers.set(example.answers, answerOffsets[index]);
  }
  return {
    ids,
    offsets,
    answers,
    answerOffsets,
    labels: Int32Array.from(examples, ({ label }) => label),
    rows: Uint32Array.from(examples, ({ noise }) => noise),
  };
}

/** 0, a, a+b, …: one more than there are lengths. */
function prefixSums(lengths: readonly number[]): Uint32Array {
  const sums = new Uint32Array(lengths.length + 1);
  let sum = 0;
  for (const [index, length] of lengths.entries()) {
    sum += length;
    sums[index + 1] = sum;
  }
  return sums;
}
