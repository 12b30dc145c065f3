import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { promptText } from '../../../ts/datasets/prompts/prompt-plan.ts';
import { resolveDataset } from '../../../ts/datasets/registry.ts';
import type { Dataset } from '../../../ts/datasets/rows/item.ts';
import { planPrompt, taskOf } from '../../../ts/datasets/tasks/tasks.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

async function rowsOf(
  name: string,
  rows: readonly object[],
  file = 'validation',
): Promise<Dataset> {
  const dataDir = temporaryFolder();
  mkdirSync(join(dataDir, name));
  writeFileSync(
    join(dataDir, name, `${file}.jsonl`),
    rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
  );
  return (await resolveDataset(name, { dataDir })).load(null);
}

function prompt(dataset: Dataset, template: 'corrected' | 'reference', at = 0) {
  const item = dataset.items[at];
  if (item === undefined) throw new Error('there is a row');
  const plan = planPrompt(dataset, item, { template, classes: 'dataset' });
  return { text: promptText(plan), labels: plan.labels, label: plan.label };
}

it("asks for a class of two sentences in words, or by the reference's line and digits", async () => {
  const dataset = await rowsOf('mrpc', [
    { sentence1: 'One saw it.', sentence2: 'It was seen.', label: 1 },
  ]);
  expect(prompt(dataset, 'corrected')).toEqual({
    text: `Do the two sentences below mean the same?

Sentence 1: One saw it.
Sentence 2: It was seen.
Labels:
A) not equivalent
B) equivalent
Answer:`,
    labels: ['A', 'B'],
    label: 1,
  });
  expect(prompt(dataset, 'reference')).toEqual({
    text: `For each pair of sentences below, indicate whether the Sentence 1 is equivalent (1) or not equivalent (2) to the Sentence 2.

Sentence 1: One saw it.
Sentence 2: It was seen.
Answer:`,
    labels: ['0', '1'],
    label: 1,
  });
});

it("asks CommonsenseQA's questions as its rows are published, whose test has no answers", async () => {
  const row = {
    id: '1',
    question: 'Where does one read?',
    question_concept: 'read',
    choices: { label: ['A', 'B', 'C', 'D', 'E'], text: ['bus', 'sea', 'sky', 'ice', 'library'] },
    answerKey: 'E',
  };
  const dataset = await rowsOf('commonsense_qa', [row, { ...row, answerKey: '' }]);
  expect(dataset).toMatchObject({
    classCount: 5,
    items: [{ answer: 4, meta: { question_concept: 'read' } }, { answer: null }],
  });
  const lines = 'A) bus\nB) sea\nC) sky\nD) ice\nE) library\nAnswer:';
  const asked = `Question: Where does one read?\nChoices:\n${lines}`;
  expect(prompt(dataset, 'reference')).toEqual({
    text: `Answer the multiple choice question below by returning the answer label (A to E)\n\n${asked}`,
    labels: ['A', 'B', 'C', 'D', 'E'],
    label: 4,
  });
  expect(prompt(dataset, 'corrected').text).toBe(
    `Return the label of the correct answer for the question below.\n\n${asked}`,
  );
});

it('counts true as the positive answer of BoolQ, and the second class of others', () => {
  const positive = (family: 'boolq' | 'mrpc', template: 'corrected' | 'reference') =>
    (['prompt', 'texts'] as const).map((reader) => taskOf(family).positive?.(template, reader));
  expect(positive('boolq', 'corrected')).toEqual([0, 0]);
  // there a true answer is class 1 of a prompt
  expect(positive('boolq', 'reference')).toEqual([1, 0]);
  expect(positive('mrpc', 'corrected')).toEqual([undefined, undefined]);
});

it.each([
  ['cola', { sentence: 'A b c.', label: 0 }, 'Sentence: A b c.\n', 2],
  ['sst2', { sentence: 'Fine.', label: 1 }, 'Sentence: Fine.\n', 2],
  [
    'qqp',
    { question1: 'Who?', question2: 'What?', label: 0 },
    'Question 1: Who?\nQuestion 2: What?\n',
    2,
  ],
  ['qnli', { question: 'Who?', sentence: 'Ada.', label: 0 }, 'Question: Who?\nSentence: Ada.\n', 2],
  ['rte', { sentence1: 'A.', sentence2: 'B.', label: 0 }, 'Sentence 1: A.\nSentence 2: B.\n', 2],
  ['wnli', { sentence1: 'A.', sentence2: 'B.', label: 1 }, 'Sentence 1: A.\nSentence 2: B.\n', 2],
  ['cb', { premise: 'A.', hypothesis: 'B.', label: 2 }, 'Premise: A.\nHypothesis: B.\n', 3],
] as const)('reads rows of %s', async (name, row, lines, classes) => {
  const dataset = await rowsOf(name, [row]);
  expect(dataset).toMatchObject({
    family: name,
    classCount: classes,
    items: [{ answer: row.label }],
  });
  expect(dataset.labelNames).toHaveLength(classes);
  for (const template of ['corrected', 'reference'] as const) {
    expect(prompt(dataset, template).text).toContain(`\n\n${lines}`);
  }
});

it('reads MNLI, whose hypothesis comes first and whose evaluation is of matched genres', async () => {
  const row = { premise: 'All.', hypothesis: 'Some.', label: 0, idx: 4 };
  const dataset = await rowsOf('mnli', [row], 'validation_matched');
  expect(dataset).toMatchObject({ split: 'validation_matched', classCount: 3 });
  expect(prompt(dataset, 'reference').text).toContain(
    '\n\nHypothesis: Some.\nPremise: All.\nAnswer:',
  );
  expect(dataset.items[0]?.meta).toEqual({ idx: 4 });
});

it('names the word of WiC and knows true as the same meaning', async () => {
  const rows = [true, false].map((answer) => ({
    word: 'place',
    sentence1: 'A.',
    sentence2: 'B.',
    answer,
  }));
  const dataset = await rowsOf('wic', rows);
  expect(dataset.items.map(({ answer }) => answer)).toEqual([1, 0]);
  expect(prompt(dataset, 'corrected').text).toContain('\nWord: place\nSentence 1: A.\n');
  expect(prompt(dataset, 'reference')).toEqual(prompt(dataset, 'corrected'));
});

it('asks COPA for the cause or the effect', async () => {
  const rows = (['cause', 'effect'] as const).map((question, label) => ({
    ...{ premise: 'It rained.', choice1: 'Clouds came.', choice2: 'It was wet.', question, label },
  }));
  const dataset = await rowsOf('copa', rows);
  const asked = [0, 1].map((at) => prompt(dataset, 'corrected', at));
  expect(asked.map(({ label }) => label)).toEqual([0, 1]);
  expect(asked[0]?.text).toContain('It rained. What was the cause?');
  expect(asked[1]?.text).toContain('It rained. What happened as a result?');
});

it('takes a class by its index or its name, and -1 and nothing as no answer', async () => {
  const labels = ['1', 'not_entailment', 'not entailment', 0, -1, undefined, ''];
  const rows = labels.map((label) => ({ sentence1: 'A.', sentence2: 'B.', label }));
  const { items } = await rowsOf('rte', rows);
  expect(items.map(({ answer }) => answer)).toEqual([1, 1, 1, 0, null, null, null]);
});

it.each([
  [
    'rte',
    { sentence1: 'A.', sentence2: 'B.', label: 2 },
    /validation.jsonl:1: label: must be one of 0 \(entailment\), 1 \(not entailment\), got 2/,
  ],
  [
    'cb',
    { premise: 'A.', hypothesis: 'B.', label: 'maybe' },
    /must be one of 0 \(entailment\), 1 \(contradiction\), 2 \(neutral\), got "maybe"/,
  ],
  [
    'wic',
    { word: 'bank', sentence1: 'A.', sentence2: 'B.', answer: -2 },
    /answer: must be one of 0 \(another meaning\), 1 \(the same meaning\), got -2/,
  ],
  ['mrpc', { sentence1: 'A.', label: 1 }, /sentence2/],
  ['cola', { sentence: ' ', label: 1 }, /sentence: must not be empty/],
  [
    'copa',
    { premise: 'A.', choice1: 'B.', choice2: 'C.', question: 'why', label: 0 },
    /must be cause or effect/,
  ],
] as const)('refuses a row of %s that does not fit', async (name, row, message) => {
  await expect(rowsOf(name, [row])).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: expect.stringMatching(message),
  });
});

it('says of an empty text that it counts as missing', async () => {
  const row = { sentence1: 'A.', sentence2: '', label: 1 };
  await expect(rowsOf('mrpc', [row])).rejects.toMatchObject({
    message: expect.stringContaining('sentence2: must be a text, got the fields "sentence1"'),
    hint: 'a field that is empty counts as missing',
  });
});

it('refuses the regression of GLUE with its reason', async () => {
  await expect(resolveDataset('stsb', { dataDir: 'x' })).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: expect.stringContaining('is a regression'),
  });
});
