/** Examples as the engine takes them: typed arrays of T tokens and B prompts, no padding. */

import type { EncodedExample } from '../datasets/tokens/encode.ts';

/** The engine's `NativeBatch`. */
export interface RaggedBatch {
  /** (T) token ids. */
  ids: Uint32Array;
  /** (B+1) prompt b = ids[offsets[b]..offsets[b+1]]. */
  offsets: Uint32Array;
  /** (T) type of each token, as an encoder reads it; all 0 unless given. */
  types?: Uint32Array;
  /** (S) class tokens of all prompts, S = Σ K_b; for an encoder indices of classes. */
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
    ...typesOf(examples, offsets),
    answers,
    answerOffsets,
    labels: Int32Array.from(examples, ({ label }) => label),
    rows: Uint32Array.from(examples, ({ noise }) => noise),
  };
}

/** Nothing where all tokens are of type 0. */
function typesOf(
  examples: readonly EncodedExample[],
  offsets: Uint32Array,
): { types?: Uint32Array } {
  if (examples.every(({ first, ids }) => first === undefined || first === ids.length)) return {};
  const types = new Uint32Array(offsets.at(-1) ?? 0);
  for (const [index, { first, ids }] of examples.entries()) {
    const from = offsets[index] ?? 0;
    types.fill(1, from + (first ?? ids.length), from + ids.length);
  }
  return { types };
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
