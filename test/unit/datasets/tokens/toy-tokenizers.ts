/** Small tokenizers with the habits that matter: a blank that belongs to the word, a blank of its own, EOS. */

import type { PromptEncoder } from '../../../../ts/datasets/tokens/prompt-encoder.ts';

export interface ToyTokenizer extends PromptEncoder {
  decode(ids: ArrayLike<number>): string;
  /** Ids without special tokens. */
  ids(text: string): number[];
}

export const BOS = 1;
export const EOS = 2;
const FIRST_PIECE = 10;

function toyTokenizer(split: (text: string) => string[], llamaClassTokenizer: boolean): ToyTokenizer {
  const pieces: string[] = [];
  const idOf = (piece: string): number => {
    const known = pieces.indexOf(piece);
    return FIRST_PIECE + (known >= 0 ? known : pieces.push(piece) - 1);
  };
  const ids = (text: string): number[] => split(text).map(idOf);
  return {
    info: { bosTokenId: BOS, eosTokenId: EOS, llamaClassTokenizer, addsBos: true },
    ids,
    decode: (tokens) =>
      Array.from(tokens, (id) =>
        id === BOS ? '<s>' : id === EOS ? '</s>' : (pieces[id - FIRST_PIECE] ?? '?'),
      ).join(''),
    encode: async (texts, addSpecialTokens) => {
      const lists = texts.map((text) => [...(addSpecialTokens ? [BOS] : []), ...ids(text)]);
      const offsets = [0];
      for (const list of lists) offsets.push((offsets.at(-1) ?? 0) + list.length);
      return { ids: Uint32Array.from(lists.flat()), offsets: Uint32Array.from(offsets) };
    },
  };
}

/** Words with the blank before them, as GPT-2's and Llama-3's tokenizers cut them. */
export function wordTokenizer(): ToyTokenizer {
  return toyTokenizer((text) => text.match(/ ?[\p{L}\p{N}]+| ?[^\s\p{L}\p{N}]|\s/gu) ?? [], false);
}

/** One token per character: the blank is a token of its own. */
export function characterTokenizer(): ToyTokenizer {
  return toyTokenizer((text) => Array.from(text), false);
}

/** SentencePiece's habit of a blank before every text; its class obeys `add_eos_token`. */
export function llamaTokenizer(): ToyTokenizer {
  const words = / ?[\p{L}\p{N}]+| ?[^\s\p{L}\p{N}]|\s/gu;
  return toyTokenizer((text) => (text === '' ? [] : (` ${text}`.match(words) ?? [])), true);
}
