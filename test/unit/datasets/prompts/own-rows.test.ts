import { expect, it } from 'vitest';
import { promptText } from '../../../../ts/datasets/prompts/prompt-plan.ts';
import { datasetFromStream } from '../../../../ts/datasets/registry.ts';
import { planPrompt } from '../../../../ts/datasets/tasks/tasks.ts';
import { DATA_PROTOCOLS } from '../../../../ts/protocol/data-protocol.ts';

async function* lines(...rows: unknown[]): AsyncGenerator<Uint8Array> {
  for (const row of rows) yield new TextEncoder().encode(`${JSON.stringify(row)}\n`);
}

it.each(['reference', 'corrected'] as const)(
  "%s: one's own row with a passage",
  async (protocol) => {
    const row = {
      context: 'Saturn has rings.',
      question: 'Which planet?',
      choices: ['Mars', 'Saturn', 'Venus'],
      answer: 1,
    };
    const dataset = await datasetFromStream({
      name: 'own',
      stream: lines(row),
      format: 'jsonl',
      family: 'multiple-choice',
    });
    const plan = planPrompt(dataset, dataset.items[0] ?? expect.fail(), DATA_PROTOCOLS[protocol]);
    expect(plan.parts.filter(({ cuttable }) => cuttable)).toEqual([
      { text: 'Saturn has rings.', cuttable: true },
    ]);
    expect({
      text: promptText(plan),
      labels: plan.labels.join(' '),
      label: plan.label,
    }).toMatchInlineSnapshot(`
    {
      "label": 1,
      "labels": "A B C",
      "text": "Return the label of the correct answer for the question below.

    Passage: Saturn has rings.
    Question: Which planet?
    Choices:
    A) Mars
    B) Saturn
    C) Venus
    Answer:",
    }
  `);
  },
);

it.each(['reference', 'corrected'] as const)(
  '%s: classification of a text and of a pair',
  async (protocol) => {
    const rows = [
      { text: 'A fine film.', label: 'positive' },
      { text1: 'It rains.', text2: 'It is dry.', label: 'negative' },
    ];
    const dataset = await datasetFromStream({
      name: 'own',
      stream: lines(...rows),
      format: 'jsonl',
      family: 'classification',
    });
    const plans = dataset.items.map((item) => planPrompt(dataset, item, DATA_PROTOCOLS[protocol]));
    expect(
      plans.map((plan) => ({ text: promptText(plan), label: plan.label })),
    ).toMatchInlineSnapshot(`
    [
      {
        "label": 1,
        "text": "Return the label of the correct class for the text below.

    Text: A fine film.
    Labels:
    A) negative
    B) positive
    Answer:",
      },
      {
        "label": 0,
        "text": "Return the label of the correct class for the two texts below.

    Text 1: It rains.
    Text 2: It is dry.
    Labels:
    A) negative
    B) positive
    Answer:",
      },
    ]
  `);
    expect(plans.map(({ labels }) => labels)).toEqual([
      ['A', 'B'],
      ['A', 'B'],
    ]);
  },
);

it('reference: BoolQ cuts between characters, not inside a pair of UTF-16 units', async () => {
  const row = { question: 'q', passage: '🪐'.repeat(1025), answer: true };
  const dataset = await datasetFromStream({
    name: 'own',
    stream: lines(row),
    format: 'jsonl',
    family: 'boolq',
  });
  const plan = planPrompt(dataset, dataset.items[0] ?? expect.fail(), DATA_PROTOCOLS.reference);
  expect(plan.parts.find(({ cuttable }) => cuttable)?.text).toBe('🪐'.repeat(1024));
});

it.each([
  ['reference', true, 'False'],
  ['reference', false, 'True'],
  ['corrected', true, 'true'],
  ['corrected', false, 'false'],
] as const)('%s: a BoolQ answer of %s is the word %s', async (protocol, answer, word) => {
  const row = { question: 'q', passage: 'p', answer };
  const dataset = await datasetFromStream({
    name: 'own',
    stream: lines(row),
    format: 'jsonl',
    family: 'boolq',
  });
  const plan = planPrompt(dataset, dataset.items[0] ?? expect.fail(), DATA_PROTOCOLS[protocol]);
  expect(plan.labels[plan.label]).toBe(word);
});
