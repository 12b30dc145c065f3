/** What data preparation needs of a tokenizer. */

export interface TokenLists {
  /** Token ids of all texts, one after another. */
  readonly ids: Uint32Array;
  /** Text b is `ids[offsets[b]..offsets[b+1]]`; one more than there are texts. */
  readonly offsets: Uint32Array;
}

export interface TokenizerInfo {
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
