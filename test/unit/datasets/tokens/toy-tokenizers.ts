/**
 * Small tokenizers with the habits that matter: a blank that belongs to the word, a blank of its
 * own, EOS.
 */

import type { PromptEncoder, RowEncoder } from '../../../../ts/datasets/tokens/prompt-encoder.ts';
import { BpeftError } from '../../../../ts/errors.ts';

export interface ToyTokenizer extends PromptEncoder {
  decode(ids: ArrayLike<number>): string;
  /** Ids without special tokens. */
  ids(text: string): number[];
}

export const BOS = 1;
export const EOS = 2;
const FIRST_PIECE = 10;

function toyTokenizer(
  split: (text: string) => string[],
  llamaClassTokenizer: boolean,
): ToyTokenizer {
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

/** BERT's habits on words between blanks: 64 positions, types, the longer text is cut first. */
export function pairTokenizer(): RowEncoder & Pick<ToyTokenizer, 'decode'> {
  const words = ['[CLS]', '[SEP]'];
  const idOf = (word: string): number => {
    const known = words.indexOf(word);
    return known >= 0 ? known : words.push(word) - 1;
  };
  const refused = async () => {
    throw new Error('an encoder reads no prompts');
  };
  return {
    info: {
      ...{
        kind: 'encoder',
        bosTokenId: null,
        eosTokenId: null,
        llamaClassTokenizer: false,
        addsBos: false,
      },
      maxPositionEmbeddings: 64,
    },
    encode: refused,
    decode: (ids) => Array.from(ids, (id) => words[id] ?? '?').join(' '),
    encodeTexts: async (texts, maxLength) => {
      const encoded = texts.map(({ first, second }) => {
        const parts = [first, ...(second === null ? [] : [second])].map((text) => text.split(' '));
        if (parts.flat().includes('REFUSED'))
          throw new BpeftError('BPEFT_INVALID_INPUT', 'cannot be read');
        const room = maxLength - 1 - parts.length;
        const isCut = parts.flat().length > room;
        while (parts.flat().length > room) {
          const [one = [], two = []] = parts;
          (two.length > one.length ? two : one).pop();
        }
        const ids = ['[CLS]', ...parts.flatMap((part) => [...part, '[SEP]'])].map(idOf);
        const before = 2 + (parts[0]?.length ?? 0);
        return { ids, types: ids.map((_, at) => (at < before ? 0 : 1)), isCut };
      });
      const offsets = [0];
      for (const { ids } of encoded) offsets.push((offsets.at(-1) ?? 0) + ids.length);
      return {
        ids: Uint32Array.from(encoded.flatMap(({ ids }) => ids)),
        offsets: Uint32Array.from(offsets),
        types: Uint32Array.from(encoded.flatMap(({ types }) => types)),
        truncated: Uint8Array.from(encoded, ({ isCut }) => Number(isCut)),
      };
    },
  };
}
