import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { promptText } from '../../../../ts/datasets/prompts/prompt-plan.ts';
import { datasetFromStream, resolveDataset } from '../../../../ts/datasets/registry.ts';
import type { Dataset, TaskFamily } from '../../../../ts/datasets/rows/item.ts';
import { planPrompt } from '../../../../ts/datasets/tasks/tasks.ts';
import {
  competingTokens,
  type EncodedExample,
  encodeDataset,
  encodeRows,
} from '../../../../ts/datasets/tokens/encode.ts';
import type { PromptEncoder } from '../../../../ts/datasets/tokens/prompt-encoder.ts';
import type { Progress } from '../../../../ts/engine/call.ts';
import { BpeftError, speakFlags } from '../../../../ts/errors.ts';
import { DATA_PROTOCOLS } from '../../../../ts/protocol/data-protocol.ts';
import { BOS, characterTokenizer, EOS, llamaTokenizer, wordTokenizer } from './toy-tokenizers.ts';

beforeAll(speakFlags);

const dataDir = join(import.meta.dirname, '../../../fixtures/data');
const { corrected, reference } = DATA_PROTOCOLS;

async function load(name: string, split: string): Promise<Dataset> {
  return (await resolveDataset(name, { dataDir })).load(split);
}

async function own(family: TaskFamily, ...rows: unknown[]): Promise<Dataset> {
  async function* lines(): AsyncGenerator<Uint8Array> {
    for (const row of rows) yield new TextEncoder().encode(`${JSON.stringify(row)}\n`);
  }
  return datasetFromStream({ name: 'own', stream: lines(), format: 'jsonl', family });
}

const PASSAGE = 'one two three four five six seven eight nine ten';
const FULL = 10_000;

it('corrected: encodes the prompt after BOS and as many answers as the item has choices', async () => {
  const tokenizer = wordTokenizer();
  const dataset = await load('ARC-Challenge', 'train');
  const { examples, truncated, tokens, maxLength, labelTokens } = await encodeDataset(
    dataset,
    tokenizer,
    {
      protocol: corrected,
      maxSeqLen: FULL,
    },
  );
  expect(examples.map(({ answers }) => answers.length)).toEqual([4, 4, 3, 5]);
  expect(examples.map(({ label }) => label)).toEqual([0, 1, 0, 2]);
  expect(examples.map(({ row }) => row)).toEqual([0, 1, 2, 3]);
  expect(truncated).toBe(0);
  for (const [index, { ids, answers }] of examples.entries()) {
    const item = dataset.items[index] ?? expect.fail();
    expect(tokenizer.decode(ids)).toBe(`<s>${promptText(planPrompt(dataset, item, corrected))}`);
    expect(tokenizer.decode(answers)).toBe(' A B C D E'.slice(0, 2 * answers.length));
  }
  expect(tokens).toBe(examples.reduce((sum, { ids }) => sum + ids.length, 0));
  expect(maxLength).toBe(Math.max(...examples.map(({ ids }) => ids.length)));
  expect(Object.keys(labelTokens)).toEqual(['A', 'B', 'C', 'D', 'E']);
});

it('gives noise to questions, not to lines: two splits share none, one question has the same anywhere', async () => {
  const tokenizer = wordTokenizer();
  const options = { protocol: corrected, maxSeqLen: FULL };
  const noiseOf = async (dataset: Dataset, more: object = {}) =>
    (await encodeDataset(dataset, tokenizer, { ...options, ...more })).examples.map(
      ({ noise }) => noise,
    );
  const train = await noiseOf(await load('ARC-Easy', 'train'));
  const validation = await noiseOf(await load('ARC-Easy', 'validation'));
  expect(new Set([...train, ...validation]).size).toBe(train.length + validation.length);
  expect(Math.max(...train)).toBeGreaterThan(2 ** 31); // all 32 bits

  const [a, b] = ['one', 'two'].map((question) => ({ question, choices: ['x', 'y'] }));
  const [ofA, ofB, again, named] = await noiseOf(
    await own('multiple-choice', a, b, a, { ...a, id: 7 }),
  );
  expect(again).toBe(ofA);
  expect(new Set([ofA, ofB, named]).size).toBe(3);
  expect(await noiseOf(await own('multiple-choice', { ...a, id: '7' }, a))).toEqual([named, ofA]);
  expect(await noiseOf(await own('multiple-choice', b, a), { noiseOf: 'line' })).toEqual([0, 1]);
});

it('reference: lets five letters compete for every ARC item', async () => {
  const tokenizer = wordTokenizer();
  const { examples } = await encodeDataset(await load('ARC-Challenge', 'train'), tokenizer, {
    protocol: reference,
    maxSeqLen: FULL,
  });
  for (const { answers } of examples) expect(tokenizer.decode(answers)).toBe('ABCDE');
});

it('reference: cuts the right end, special tokens included', async () => {
  const tokenizer = wordTokenizer();
  const dataset = await load('ARC-Easy', 'validation');
  const whole = await encodeDataset(dataset, tokenizer, { protocol: reference, maxSeqLen: FULL });
  const cut = await encodeDataset(dataset, tokenizer, { protocol: reference, maxSeqLen: 50 });
  expect(cut.truncated).toBe(whole.examples.filter(({ ids }) => ids.length > 50).length);
  expect(cut.truncated).toBeGreaterThan(0);
  for (const [index, { ids, truncated }] of cut.examples.entries()) {
    const all = whole.examples[index]?.ids ?? expect.fail();
    expect(ids).toEqual(all.slice(0, 50));
    expect(truncated).toBe(all.length > 50);
  }
});

it('reference: appends EOS on Llama-class tokenizers to BoolQ and Winogrande only, within the limit', async () => {
  const options = { protocol: reference, maxSeqLen: 60 };
  for (const [name, split, expected] of [
    ['boolq', 'train', true],
    ['winogrande_s', 'train', true],
    ['obqa', 'train', false],
    ['ARC-Easy', 'validation', false],
    ['MMLU-chem', 'test', false],
  ] as const) {
    const { examples } = await encodeDataset(await load(name, split), llamaTokenizer(), options);
    for (const { ids, truncated } of examples) {
      expect(ids[0]).toBe(BOS);
      expect(ids.at(-1) === EOS).toBe(expected);
      expect(ids.length).toBeLessThanOrEqual(60);
      if (truncated) expect(ids.length).toBe(60);
    }
  }
  const boolq = await load('boolq', 'train');
  for (const [tokenizer, protocol] of [
    [wordTokenizer(), reference],
    [llamaTokenizer(), corrected],
  ] as const) {
    const { examples } = await encodeDataset(boolq, tokenizer, { protocol, maxSeqLen: FULL });
    for (const { ids } of examples) expect(ids.at(-1)).not.toBe(EOS);
  }
});

it('corrected: cuts nothing but the end of the passage, as little as fits, and counts it', async () => {
  const tokenizer = wordTokenizer();
  const row = { context: PASSAGE, question: 'Which?', choices: ['a', 'b'], answer: 0 };
  const dataset = await own('multiple-choice', row, { ...row, context: 'short' });
  const whole = await encodeDataset(dataset, tokenizer, { protocol: corrected, maxSeqLen: FULL });
  const length = whole.examples[0]?.ids.length ?? 0;
  const { examples, truncated } = await encodeDataset(dataset, tokenizer, {
    protocol: corrected,
    maxSeqLen: length - 4,
  });
  expect(examples.map((example) => example.truncated)).toEqual([true, false]);
  expect(truncated).toBe(1);
  expect(examples[0]?.ids).toHaveLength(length - 4);
  const text = tokenizer.decode(examples[0]?.ids ?? []);
  expect(text).toMatch(
    /\nPassage: one two three four five six.*\nQuestion: Which\?\nChoices:\nA\) a\nB\) b\nAnswer:$/,
  );
  expect(text).not.toContain('seven eight');
});

it('corrected: cuts the longer of two texts first', async () => {
  const tokenizer = characterTokenizer();
  const dataset = await own(
    'classification',
    { text1: 'x'.repeat(40), text2: 'y'.repeat(10), label: 'no' },
    { text1: 'a', text2: 'b', label: 'yes' },
  );
  const whole = await encodeDataset(dataset, tokenizer, { protocol: corrected, maxSeqLen: FULL });
  const { examples } = await encodeDataset(dataset, tokenizer, {
    protocol: corrected,
    maxSeqLen: (whole.examples[0]?.ids.length ?? 0) - 25,
  });
  const text = tokenizer.decode(examples[0]?.ids ?? []);
  expect(text).toContain(`Text 1: ${'x'.repeat(15)}\n`);
  expect(text).toContain(`Text 2: ${'y'.repeat(10)}\n`);
});

it('corrected: refuses a prompt that does not fit even without its passage', async () => {
  const row = { context: PASSAGE, question: 'Which?', choices: ['a', 'b'], answer: 0 };
  const dataset = await own('multiple-choice', row);
  const encoding = encodeDataset(dataset, wordTokenizer(), { protocol: corrected, maxSeqLen: 20 });
  await expect(encoding).rejects.toMatchObject({
    code: 'BPEFT_PROMPT_TOO_LONG',
    message: expect.stringMatching(
      /^own:1: the prompt must fit 20 tokens, got \d+ without its passage$/,
    ),
    hint: expect.stringMatching(/pass --max-seq-len \d+ or more$/),
  });
  const without = await own('multiple-choice', { ...row, context: undefined });
  await expect(
    encodeDataset(without, wordTokenizer(), { protocol: corrected, maxSeqLen: 20 }),
  ).rejects.toMatchObject({ message: expect.stringMatching(/got \d+$/) });
});

it('corrected: ends prompts with the blank where that is a token, and scores the bare letter', async () => {
  const tokenizer = characterTokenizer();
  const { examples } = await encodeDataset(await load('ARC-Easy', 'validation'), tokenizer, {
    protocol: corrected,
    maxSeqLen: FULL,
  });
  expect(tokenizer.decode(examples[0]?.ids ?? [])).toMatch(/\nAnswer: $/);
  expect(tokenizer.decode(examples[0]?.answers ?? [])).toBe('ABCD');
});

it('keeps rows without an answer as label −1', async () => {
  const { examples } = await encodeDataset(await load('exam-topics', 'ood'), wordTokenizer(), {
    protocol: corrected,
    maxSeqLen: FULL,
  });
  expect(examples.map(({ label }) => label)).toEqual([-1, -1]);
  expect(examples[0]?.id).toMatch(/^philosophy\//);
});

it('tells how many rows are encoded, and stops when a listener of them aborts', async () => {
  const row = { question: 'one?', choices: ['a', 'b'] };
  const dataset = await own('multiple-choice', ...Array.from({ length: 600 }, () => row));
  const options = { protocol: corrected, maxSeqLen: FULL };
  const told: Progress[] = [];
  const onProgress = (progress: Progress) => told.push(progress);
  await encodeDataset(dataset, wordTokenizer(), { ...options, onProgress });
  const of600 = { activity: 'encoding', unit: 'rows', total: 600 };
  expect(told).toEqual([
    { ...of600, done: 512 },
    { ...of600, done: 600 },
  ]);
  const controller = new AbortController();
  const reason = new Error('enough');
  const stopping = { signal: controller.signal, onProgress: () => controller.abort(reason) };
  await expect(
    encodeDataset(dataset, wordTokenizer(), { ...options, ...stopping }),
  ).rejects.toMatchObject({
    name: 'AbortError',
    cause: reason,
  });
});

it('stops when aborted', async () => {
  const encoding = encodeDataset(await load('obqa', 'train'), wordTokenizer(), {
    protocol: corrected,
    maxSeqLen: FULL,
    signal: AbortSignal.abort(),
  });
  await expect(encoding).rejects.toMatchObject({ code: 'BPEFT_ABORTED' });
});

it("cuts to the model's context where that is shorter, and names file, row and remedy where it cannot", async () => {
  const tokenizer = wordTokenizer();
  const row = { context: PASSAGE, question: 'Which?', choices: ['a', 'b'], answer: 0 };
  const dataset = await own('multiple-choice', row, {
    ...row,
    context: null,
    question: PASSAGE.repeat(3),
  });
  const whole = await encodeDataset(dataset, tokenizer, { protocol: corrected, maxSeqLen: FULL });
  const [first, second] = whole.examples.map(({ ids }) => ids.length);
  const reading = (tokens: number) => ({
    ...tokenizer,
    info: { ...tokenizer.info, maxPositionEmbeddings: tokens },
  });
  const first_ = { ...dataset, items: dataset.items.slice(0, 1) };
  for (const protocol of [corrected, reference]) {
    const length = (first ?? 0) - 3;
    const { examples, maxSeqLen } = await encodeDataset(first_, reading(length), {
      protocol,
      maxSeqLen: FULL,
    });
    expect([maxSeqLen, examples[0]?.ids.length, examples[0]?.truncated]).toEqual([
      length,
      length,
      true,
    ]);
  }
  for (const onLong of ['cut', 'error'] as const) {
    const encoding = encodeDataset(dataset, reading((second ?? 0) - 1), {
      ...{ protocol: corrected, maxSeqLen: FULL, onLong },
    });
    await expect(encoding).rejects.toMatchObject({
      code: 'BPEFT_PROMPT_TOO_LONG',
      message: `own:2: the model reads at most ${(second ?? 0) - 1} tokens, got ${second}`,
      hint: expect.stringContaining('choose a model with a longer context'),
    });
  }
});

it('names the row that holds a token which the model lacks', async () => {
  const tokenizer = wordTokenizer();
  const refusing: PromptEncoder = {
    info: tokenizer.info,
    encode: async (texts, special) => {
      const bad = texts.find((text) => text.includes('[PAD]'));
      if (bad === undefined) return tokenizer.encode(texts, special);
      const message =
        `a text must hold tokens of the model, which has 512, got "[PAD]" (id 512) in the one that ` +
        `begins ${JSON.stringify(bad.slice(0, 80))}; take it out of the text`;
      throw new BpeftError('BPEFT_INVALID_INPUT', message);
    },
  };
  const row = { question: 'Which?', choices: ['a', 'b'], answer: 0 };
  const dataset = await own(
    'multiple-choice',
    row,
    row,
    { ...row, question: 'What is [PAD]?' },
    row,
  );
  await expect(
    encodeDataset(dataset, refusing, { protocol: corrected, maxSeqLen: FULL }),
  ).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: 'own:3: holds the token "[PAD]" (id 512), which the model does not have',
    hint: 'take it out of the row, or choose a model that has it',
  });
});

it.each([
  ['ARC-Challenge', 'train'],
  ['boolq', 'train'],
  ['exam-topics', 'ood'],
])('encodes %s %s alike from memory and from its files', async (name, split) => {
  const source = await resolveDataset(name, { dataDir });
  const options = { protocol: corrected, maxSeqLen: FULL };
  // Where words are tokens, those of boolq's answers are too.
  const tokenizer = wordTokenizer();
  const held = await encodeDataset(await source.load(split), tokenizer, options);
  const rows = await source.stream(split);
  const labels = await competingTokens(rows, tokenizer, corrected);
  const streamed: EncodedExample[] = [];
  for await (const some of encodeRows(rows, labels, tokenizer, options)) streamed.push(...some);
  expect(streamed).toEqual(held.examples);
  expect(rows.rows).toBe(held.examples.length);
  expect(Object.fromEntries(labels.tokens)).toEqual(held.labelTokens);
});
