/** What data preparation needs of a tokenizer. */

import type { TextPair } from '../prompts/text-pair.ts';

export interface TokenLists {
  /** Token ids of all texts, one after another. */
  readonly ids: Uint32Array;
  /** Text b is `ids[offsets[b]..offsets[b+1]]`; one more than there are texts. */
  readonly offsets: Uint32Array;
}

export interface TokenizerInfo {
  /** An encoder reads texts as they are, a decoder prompts; `decoder` unless given. */
  readonly kind?: 'decoder' | 'encoder';
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  /** Llama-1/2 and Mistral: their tokenizer class obeys `add_eos_token`. */
  readonly llamaClassTokenizer: boolean;
  readonly addsBos: boolean;
  /** Tokens that the model can read; unknown where left out. */
  readonly maxPositionEmbeddings?: number;
}

export interface PromptEncoder {
  /** Adds the tokenizer's own special tokens (BOS) iff `addSpecialTokens`. */
  encode(texts: string[], addSpecialTokens: boolean): Promise<TokenLists>;
  readonly info: TokenizerInfo;
}

/** Texts and pairs as an encoder reads them. */
export interface PairLists extends TokenLists {
  /** Type of each token: 1 in the second text, where the model tells them apart. */
  readonly types: Uint32Array;
  /** 1 where something was cut, one per pair. */
  readonly truncated: Uint8Array;
}

export interface PairEncoder {
  /**
   * At most `maxLength` tokens each, special ones included; what is longer is cut, the longer text
   * first.
   */
  encodeTexts(texts: readonly TextPair[], maxLength: number): Promise<PairLists>;
  readonly info: TokenizerInfo;
}

/** Makes tokens of rows: of prompts, or, for an encoder, of texts and pairs. */
export type RowEncoder = PromptEncoder & Partial<Pick<PairEncoder, 'encodeTexts'>>;

const TEXTS_PER_CALL = 512;

/** Token ids of each text, in chunks, so that no call holds the model's thread for long. */
export async function encodeTexts(
  encoder: PromptEncoder,
  texts: readonly string[],
  addSpecialTokens: boolean,
): Promise<Uint32Array[]> {
  const encoded: Uint32Array[] = [];
  for (let start = 0; start < texts.length; start += TEXTS_PER_CALL) {
    const chunk = texts.slice(start, start + TEXTS_PER_CALL);
    const { ids, offsets } = await encoder.encode(chunk, addSpecialTokens);
    for (let index = 0; index < chunk.length; index += 1) {
      encoded.push(ids.slice(offsets[index], offsets[index + 1]));
    }
  }
  return encoded;
}
