import { expect, it } from 'vitest';
import { letters } from '../../../../ts/datasets/rows/item.ts';
import { labelTokens } from '../../../../ts/datasets/tokens/label-tokens.ts';
import type { PromptEncoder } from '../../../../ts/datasets/tokens/prompt-encoder.ts';
import { DATA_PROTOCOLS } from '../../../../ts/protocol/data-protocol.ts';
import { characterTokenizer, llamaTokenizer, wordTokenizer } from './toy-tokenizers.ts';

const { corrected, reference } = DATA_PROTOCOLS;
const CUE = 'Answer:';

it('corrected: takes the token of the blank and the letter, as it continues the cue', async () => {
  const tokenizer = wordTokenizer();
  const found = await labelTokens(tokenizer, CUE, ['A', 'B'], corrected);
  expect(found.promptEnd).toBe('');
  expect([...found.tokens].map(([label, token]) => [label, tokenizer.decode([token])])).toEqual([
    ['A', ' A'],
    ['B', ' B'],
  ]);
});

it('corrected: ends the prompt with the blank where that is a token of its own', async () => {
  const tokenizer = characterTokenizer();
  const found = await labelTokens(tokenizer, CUE, ['A', 'B'], corrected);
  expect(found.promptEnd).toBe(' ');
  expect(tokenizer.decode([...found.tokens.values()])).toBe('AB');
});

it('reference: takes the last token of the bare letter, or with a blank', async () => {
  const tokenizer = wordTokenizer();
  const bare = await labelTokens(tokenizer, CUE, ['A'], reference);
  const spaced = await labelTokens(tokenizer, CUE, ['A'], { ...reference, addSpace: true });
  expect(tokenizer.decode([bare.tokens.get('A') ?? 0])).toBe('A');
  expect(tokenizer.decode([spaced.tokens.get('A') ?? 0])).toBe(' A');
});

it('agrees between the protocols where the tokenizer adds a blank of its own', async () => {
  const tokenizer = llamaTokenizer();
  const corrected_ = await labelTokens(tokenizer, CUE, ['A', 'B'], corrected);
  const reference_ = await labelTokens(tokenizer, CUE, ['A', 'B'], reference);
  expect(corrected_.tokens).toEqual(reference_.tokens);
});

it('corrected: refuses a label of several tokens, naming them', async () => {
  const tokenizer = wordTokenizer();
  const label = 'sci-fi';
  const rest = tokenizer.ids(`${CUE} ${label}`).slice(tokenizer.ids(CUE).length);
  expect(rest).toHaveLength(3);
  await expect(labelTokens(tokenizer, CUE, ['A', label], corrected)).rejects.toMatchObject({
    code: 'BPEFT_LABEL_TOKENS',
    message: `label "sci-fi" must continue "Answer:" by one token, got the tokens ${rest.join(', ')}`,
  });
  await expect(
    labelTokens(characterTokenizer(), CUE, ['true', 'false'], corrected),
  ).rejects.toMatchObject({
    code: 'BPEFT_LABEL_TOKENS',
  });
});

it('corrected: refuses a label that merges with the cue', async () => {
  const merging: PromptEncoder = {
    ...wordTokenizer(),
    encode: async (texts) => ({
      ids: Uint32Array.from(texts, (text) => text.length),
      offsets: Uint32Array.from({ length: texts.length + 1 }, (_, index) => index),
    }),
  };
  await expect(labelTokens(merging, CUE, ['A'], corrected)).rejects.toMatchObject({
    code: 'BPEFT_LABEL_TOKENS',
  });
});

/** Letters fold to lower case: A and a are one token. */
function folding(): PromptEncoder {
  const tokenizer = wordTokenizer();
  return {
    info: tokenizer.info,
    encode: (texts, special) =>
      tokenizer.encode(
        texts.map((text) => text.toLowerCase()),
        special,
      ),
  };
}

it('corrected: refuses two labels of one token; reference only mentions it', async () => {
  await expect(labelTokens(folding(), CUE, ['A', 'a'], corrected)).rejects.toMatchObject({
    code: 'BPEFT_LABEL_TOKENS',
    message: expect.stringMatching(/^labels "A" and "a" share the token \d+$/),
  });
  const { notices } = await labelTokens(folding(), CUE, ['A', 'a'], reference);
  expect(notices).toEqual([expect.stringContaining('their logits are always equal')]);
});

it('refuses a label without a token', async () => {
  await expect(labelTokens(wordTokenizer(), CUE, [''], reference)).rejects.toMatchObject({
    code: 'BPEFT_LABEL_TOKENS',
    message: 'label "" must be a token, got none',
  });
});

it('says how many of many labels the tokenizer has as one token, and blames one of the others', async () => {
  const labels = letters(60);
  const tokenizer = wordTokenizer();
  const pairs = { info: tokenizer.info, encode: splitting };
  await expect(labelTokens(pairs, CUE, labels, corrected)).rejects.toMatchObject({
    message: expect.stringContaining('label "AA" must continue "Answer:" by one token'),
    hint: 'this tokenizer has one token for 52 of the 60 labels: merge classes, or choose another model; an encoder takes any number of them',
  });
  expect((await labelTokens(pairs, CUE, labels.slice(0, 52), corrected)).tokens.size).toBe(52);
  // Where the last token counts, AA is an A.
  await expect(labelTokens(pairs, CUE, labels, reference)).rejects.toMatchObject({
    message: expect.stringContaining('labels "A" and "AA" share the token'),
    hint: expect.stringContaining('one token for 52 of the 60 labels'),
  });

  /** Two letters are two tokens. */
  function splitting(texts: string[], special: boolean) {
    return tokenizer.encode(
      texts.map((text) => text.replace(/\b([A-Z])([A-Z])$/, '$1-$2')),
      special,
    );
  }
});
