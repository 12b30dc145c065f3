import { expect, it } from 'vitest';
import { complaint, lines, read } from '../../../support/rows.ts';

const classification = { family: 'classification' } as const;
const csv = { format: 'csv' } as const;
const choice = { question: 'Why?', choices: ['a', 'b', 'c'] };

it.each([
  ['a JSON number', '{"text":"t","label":3}', 'jsonl'],
  ['a JSON text', '{"text":"t","label":"3"}', 'jsonl'],
  ['a CSV cell', 'text,label\nt,3\n', 'csv'],
] as const)(
  'never takes %s for an index where class names are whole numbers',
  async (_, text, format) => {
    const message = await complaint(text, {
      ...classification,
      format,
      labels: ['1', '2', '4', '5'],
    });
    expect(message).toMatch(/^rows\..*: label: is not among the classes 1, 2, 4, 5, got "3"$/);
  },
);

it.each([
  ['a JSON number', '{"text":"t","label":1}', 'jsonl'],
  ['a JSON text', '{"text":"t","label":"1"}', 'jsonl'],
  ['a number with a fraction of nothing', '{"text":"t","label":1.0}', 'jsonl'],
  ['a CSV cell', 'text,label\nt,1\n', 'csv'],
] as const)('takes %s for an index where class names are words', async (_, text, format) => {
  const { items } = await read(text, { ...classification, format, labels: ['no', 'yes'] });
  expect(items[0]?.answer).toBe(1);
});

it('takes white space around labels away, and one Unicode form for another', async () => {
  const rows = lines(
    ...[{ label: 'spam' }, { label: 'spam ' }, { label: '\u00a0ham' }, { label: 'ham' }].map(
      withText,
    ),
    ...[{ label: 'caf\u00e9' }, { label: 'cafe\u0301' }].map(withText),
  );
  const { items, labelNames, notices } = await read(rows, classification);
  expect(labelNames).toEqual(['caf\u00e9', 'ham', 'spam']);
  expect(items.map(({ answer }) => answer)).toEqual([2, 2, 1, 1, 0, 0]);
  expect(notices).toEqual([]);
  const given = await read(rows, { ...classification, labels: ['cafe\u0301', ' ham', 'spam'] });
  expect(given.labelNames).toEqual(labelNames);
});

it.each([
  ['letter case', 'spam', 'Spam'],
  ['inner white space', 'not spam', 'not\u00a0 spam'],
  ['invisible characters', 'spam', 'sp\u200bam'],
  ['compatibility forms', 'spam', 'ｓｐａｍ'],
  ['the way of writing a number', '1', '1.0'],
])('announces labels that differ in %s only', async (_, one, other) => {
  const { labelNames, notices } = await read(
    lines(withText({ label: one }), withText({ label: other })),
    classification,
  );
  expect(labelNames).toHaveLength(2);
  expect(notices).toHaveLength(1);
  expect(notices[0]).toContain(JSON.stringify(one));
  expect(notices[0]).toContain(JSON.stringify(other));
});

it('keeps every digit of an id, and texts of digits apart from numbers of none', async () => {
  const text = [
    '{"text":"a 12345678901234567890 \\" 1.0","id":1234567890123456789,"label":"x"}',
    '{"text":"b","id": 1.50 ,"label":"y"}',
    '{"text":"c","id":7,"label":"y"}',
    '{"text":"d","id":"007","label":"y"}',
  ].join('\n');
  const { items } = await read(text, classification);
  expect(items.map(({ id }) => id)).toEqual(['1234567890123456789', '1.50', '7', '007']);
  expect(items[0]?.texts).toEqual(['a 12345678901234567890 " 1.0']);
});

it('reads one row alike from JSON Lines, from a list and from CSV', async () => {
  const row = { question: 'Sum?', choices: [3, 4.5, true], answer: 1, id: 12 };
  const [fromLines, fromList, fromCsv] = await Promise.all([
    read(lines(row)),
    read(JSON.stringify([row], null, 2)),
    read('question,choice1,choice2,choice3,answer,id\nSum?,3,4.5,true,1,12\n', csv),
  ]);
  const seen = fromLines.items.map(({ place, ...item }) => item);
  expect(seen[0]).toMatchObject({ choices: ['3', '4.5', 'true'], answer: 1, id: '12' });
  expect(fromList.items.map(({ place, ...item }) => item)).toEqual(seen);
  expect(fromCsv.items.map(({ place, ...item }) => item)).toEqual(seen);
});

it('takes null and an empty text for an absent field, as an empty cell is', async () => {
  const { items } = await read(
    lines({ ...choice, prompt: null, id: '', context: null, answer: '' }),
  );
  expect(items[0]).toMatchObject({ id: null, context: null, answer: null });
});

it('tells an index from a label, and refuses a cell that could be either', async () => {
  const labels = ['1', '2', '3'];
  const answers = [
    { answer: 1 },
    { answer: '1' },
    { answerKey: '1' },
    { answer: '3' },
    { answerKey: 3 },
  ];
  const { items } = await read(
    lines(...answers.map((answer) => ({ ...choice, labels, ...answer }))),
  );
  expect(items.map(({ answer }) => answer)).toEqual([1, 0, 0, 2, 2]);
  const table = (column: string): string =>
    `question,choices,labels,${column}\nWhy?,"[""a"",""b"",""c""]","[""1"",""2"",""3""]",1\n`;
  expect(await complaint(table('answer'), csv)).toBe(
    'rows.csv:2: answer: 1 may be the label of choice 1 or the index of choice 2',
  );
  expect((await read(table('answerKey'), csv)).items[0]?.answer).toBe(0);
  expect(await complaint(lines({ ...choice, answer: 0, answerKey: 'A' }))).toContain(
    'answerKey: stands beside answer',
  );
  expect(await complaint(lines({ ...choice, answerKey: '0' }))).toContain(
    'is not among the labels A, B, C',
  );
});

it('takes -1 for no label, unless a class is called so', async () => {
  const minus = '{"text":"t","label":-1}';
  const asked = { ...classification, labels: ['0', '1'] };
  expect((await read(minus, asked)).items[0]?.answer).toBeNull();
  expect((await read('text,label\nt,-1\n', { ...asked, ...csv })).items[0]?.answer).toBeNull();
  expect((await read(minus, { ...asked, labels: ['1', '0', '-1'] })).items[0]?.answer).toBe(2);
  expect((await read(lines({ ...choice, answer: -1 }))).items[0]?.answer).toBeNull();
  const named = lines({ ...choice, labels: ['1', '0', '-1'], answerKey: '-1' });
  expect((await read(named)).items[0]?.answer).toBe(2);
});

it.each([
  ['classification', { text: 't', label: 'unheard of' }, ['no', 'yes']],
  ['multiple-choice', { ...choice, answer: 17 }, null],
  ['multiple-choice', { ...choice, answerKey: '?' }, null],
  ['boolq', { question: 'q', passage: 'p', answer: 'perhaps' }, null],
  ['winogrande', { sentence: 'a _', option1: 'x', option2: 'y', answer: 9 }, null],
] as const)(
  'does not read the answer of a row of %s that is only predicted',
  async (family, row, labels) => {
    const asked = { family, labels: labels === null ? null : [...labels] };
    expect((await read(lines(row), { ...asked, isPredicted: true })).items[0]?.answer).toBeNull();
    expect(await complaint(lines(row), asked)).toMatch(/^rows\.jsonl:1: (label|answer)/);
  },
);

it('suggests the class that is meant', async () => {
  const error = read(lines({ text: 't', label: 'complant' }), {
    ...classification,
    labels: ['complaint', 'praise'],
  });
  await expect(error).rejects.toMatchObject({
    hint: expect.stringMatching(/^did you mean "complaint"\? Else name all classes: labels/),
  });
});

it('reads premise and hypothesis as a pair', async () => {
  const rows = lines(
    { premise: 'A dog runs.', hypothesis: 'It moves.', label: 0 },
    { premise: 'A dog runs.', hypothesis: 'It sleeps.', label: 2 },
  );
  const { items } = await read(rows, classification);
  expect(items[0]?.texts).toEqual(['A dog runs.', 'It moves.']);
});

it("reads Hugging Face's rows of ARC and OpenBookQA", async () => {
  const choices = { text: ['dry', 'wet', 'hot'], label: ['1', '2', '3'] };
  const { items } = await read(
    lines(
      { id: 'Mercury_1', question: 'How is water?', choices, answerKey: '2' },
      {
        id: '7-1',
        question_stem: 'Water is',
        choices: { ...choices, label: ['A', 'B', 'C'] },
        answerKey: 'C',
      },
    ),
  );
  expect(items.map(({ question, labels, answer }) => [question, labels.join(''), answer])).toEqual([
    ['How is water?', '123', 1],
    ['Water is', 'ABC', 2],
  ]);
  expect(items[0]?.choices).toEqual(['dry', 'wet', 'hot']);
});

function withText(row: object): object {
  return { text: 't', ...row };
}
