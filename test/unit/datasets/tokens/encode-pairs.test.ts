import { join } from 'node:path';
import { expect, it } from 'vitest';
import { raggedBatch } from '../../../../ts/batches/ragged-batch.ts';
import { datasetFromStream } from '../../../../ts/datasets/registry.ts';
import type { TaskFamily } from '../../../../ts/datasets/rows/item.ts';
import { encodeDataset } from '../../../../ts/datasets/tokens/encode.ts';
import { ExamplePacker, PackedExamples } from '../../../../ts/datasets/tokens/packed-examples.ts';
import { FileWords } from '../../../../ts/datasets/tokens/words.ts';
import { DATA_PROTOCOLS } from '../../../../ts/protocol/data-protocol.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { pairTokenizer } from './toy-tokenizers.ts';

async function dataset(
  family: TaskFamily,
  rows: readonly object[],
  labels: readonly string[] | null = null,
) {
  const stream = (async function* () {
    for (const row of rows) yield Buffer.from(`${JSON.stringify(row)}\n`);
  })();
  return datasetFromStream({ name: 'rows.jsonl', stream, format: 'jsonl', family, labels });
}

const OPTIONS = { protocol: DATA_PROTOCOLS.corrected, maxSeqLen: 32 } as const;

/** What the encoder reads, and of which type its tokens are. */
async function read(family: TaskFamily, row: object, options: Partial<typeof OPTIONS> = {}) {
  const encoder = pairTokenizer();
  const { examples } = await encodeDataset(await dataset(family, [row]), encoder, {
    ...OPTIONS,
    ...options,
  });
  const [example] = examples;
  if (example === undefined) throw new Error('one row');
  const { ids, answers, label } = example;
  const types = raggedBatch([example]).types;
  return {
    text: encoder.decode(ids),
    answers: [...answers],
    label,
    types: types?.join('') ?? null,
  };
}

it('reads the sentences of a pair, typed apart, and answers by the index of a class', async () => {
  expect(await read('rte', { sentence1: 'a b', sentence2: 'c', label: 1 })).toEqual({
    ...{ text: '[CLS] a b [SEP] c [SEP]', answers: [0, 1], label: 1, types: '000011' },
  });
  expect(await read('cola', { sentence: 'a b', label: 0 })).toEqual({
    ...{ text: '[CLS] a b [SEP]', answers: [0, 1], label: 0, types: null },
  });
  expect((await read('cb', { premise: 'a', hypothesis: 'b', label: 2 })).answers).toEqual([
    0, 1, 2,
  ]);
});

it('reads premise before hypothesis, and not the word of WiC, as the reference does', async () => {
  expect((await read('mnli', { hypothesis: 'h', premise: 'p', label: 0 })).text).toBe(
    '[CLS] p [SEP] h [SEP]',
  );
  const wic = { word: 'w', sentence1: 'a', sentence2: 'b', answer: true };
  expect(await read('wic', wic)).toMatchObject({ text: '[CLS] a [SEP] b [SEP]', label: 1 });
  expect(await read('boolq', { question: 'q', passage: 'p', answer: true })).toMatchObject({
    text: '[CLS] p [SEP] q [SEP]',
    label: 0,
  });
});

const ASKED = 'Select one of the choices that answers the following question:';

it('reads a question with its choices as one text, in the words of the reference', async () => {
  const arc = { question: 'Q', choices: ['x', 'y', 'z'], labels: ['1', '2', '3'], answer: 2 };
  expect(await read('arc', arc)).toMatchObject({
    text: `[CLS] ${ASKED} Q Choices: A. x B. y C. z Answer: [SEP]`,
    ...{ answers: [0, 1, 2], label: 2 },
  });
  const { reference } = DATA_PROTOCOLS;
  const asReference = { protocol: reference } as Partial<typeof OPTIONS>;
  expect(await read('arc', arc, asReference)).toMatchObject({
    text: `[CLS] ${ASKED} Q Choices: 1. x 2. y 3. z Answer: [SEP]`,
    answers: [0, 1, 2, 3, 4],
  });
  const winogrande = { sentence: 'a _ c', option1: 'x', option2: 'y', answer: 2 };
  expect((await read('winogrande', winogrande, asReference)).text).toBe(
    `[CLS] ${ASKED} a _ c Choices: A. x. B y. Answer: [SEP]`,
  );
  const copa = { premise: 'P', choice1: 'x', choice2: 'y', question: 'cause', label: 1 };
  expect((await read('copa', copa)).text).toContain(
    'P What was the cause? Choices: A. x B. y Answer:',
  );
});

it('cuts the longer text first, and says so', async () => {
  const rows = await dataset('rte', [{ sentence1: 'a b c d e f', sentence2: 'g h', label: 0 }]);
  const encoder = pairTokenizer();
  const { examples, truncated } = await encodeDataset(rows, encoder, { ...OPTIONS, maxSeqLen: 8 });
  expect(encoder.decode(examples[0]?.ids ?? [])).toBe('[CLS] a b c [SEP] g h [SEP]');
  expect([truncated, examples[0]?.first]).toEqual([1, 5]);
});

it.each([
  [
    'an empty second text',
    { text1: 'a', text2: ' ', label: 'x' },
    'rows.jsonl:1: text2: must not be empty',
  ],
  [
    'a label outside the classes',
    { text1: 'a', text2: 'b', label: 'z' },
    'rows.jsonl:1: label: is not among',
  ],
])('refuses %s, by row and value', async (_, row, message) => {
  await expect(dataset('classification', [row], ['x', 'y'])).rejects.toThrow(message);
});

it('names the row that the engine refuses, and a length beyond the positions', async () => {
  const encoder = pairTokenizer();
  const rows = await dataset('cola', [{ sentence: 'fine' }, { sentence: 'REFUSED' }]);
  await expect(encodeDataset(rows, encoder, OPTIONS)).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: expect.stringContaining('rows.jsonl:2: cannot be read'),
  });
  await expect(encodeDataset(rows, encoder, { ...OPTIONS, maxSeqLen: 65 })).rejects.toThrow(
    'maxSeqLen must be at most 64, the positions that this encoder has learnt, got 65',
  );
  const long = await dataset('cola', [{ sentence: 'a b c d e f g h' }]);
  const refusing = { ...OPTIONS, maxSeqLen: 8, onLong: 'error' } as const;
  await expect(encodeDataset(long, encoder, refusing)).rejects.toMatchObject({
    code: 'BPEFT_PROMPT_TOO_LONG',
  });
});

it('keeps the types in a file of tokens', async () => {
  const rows = await dataset('rte', [
    { sentence1: 'a b', sentence2: 'c', label: 1 },
    { sentence1: 'a', sentence2: 'b c d', label: 0 },
  ]);
  const { examples } = await encodeDataset(rows, pairTokenizer(), OPTIONS);
  const path = join(temporaryFolder(), 'x.tokens');
  const packer = new ExamplePacker(2, await FileWords.create(path));
  await packer.append(examples);
  await packer.finish();
  const found = await (await PackedExamples.open(path))?.read([0, 1]);
  expect(found).toEqual(examples);
  expect(raggedBatch(found ?? []).types?.join('')).toBe('0000110001111');
});
