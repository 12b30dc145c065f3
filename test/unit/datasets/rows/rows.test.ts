import { expect, it } from 'vitest';
import { MAX_LINE_BYTES, readJsonl } from '../../../../ts/datasets/files/jsonl.ts';
import { complaint, lines, read } from '../../../support/rows.ts';

const rings = { question: 'Which planet has rings?', choices: ['Mars', 'Saturn'], answer: 1 };

it('reads a multiple-choice row and keeps unknown fields as meta data', async () => {
  const { items, classCount, files } = await read(
    lines({ ...rings, id: 7, source: 'sky', year: 1610 }),
  );
  expect(items).toEqual([
    {
      place: { file: 'rows.jsonl', line: 1 },
      row: 0,
      id: '7',
      context: null,
      question: 'Which planet has rings?',
      texts: [],
      choices: ['Mars', 'Saturn'],
      labels: ['A', 'B'],
      answer: 1,
      meta: { source: 'sky', year: 1610 },
    },
  ]);
  expect(classCount).toBe(2);
  expect(files).toEqual([
    { path: 'rows.jsonl', sha256: expect.stringMatching(/^[0-9a-f]{64}$/), rows: 1 },
  ]);
});

it.each([
  ['an index', 1, undefined, 1],
  ['a letter', 'B', undefined, 1],
  ["one of the row's own labels", '2', ['1', '2'], 1],
  ['a whole number as text', '0', undefined, 0],
  ['a label before an index', '1', ['1', '0'], 0],
  ['nothing', undefined, undefined, null],
  ['null', null, undefined, null],
])('takes %s as the answer', async (_, answer, labels, index) => {
  const { items } = await read(lines({ ...rings, answer, labels }));
  expect(items[0]?.answer).toBe(index);
});

it('takes prompt for question and a passage as context', async () => {
  const { items } = await read(lines({ prompt: 'Why?', context: 'Because.', choices: ['a', 'b'] }));
  expect(items[0]).toMatchObject({ question: 'Why?', context: 'Because.', answer: null });
});

it('counts rows by lines, whatever the chunks, blank lines, CRLF, byte order mark and missing last newline', async () => {
  const text = `\uFEFF${JSON.stringify(rings)}\r\n\r\n${JSON.stringify({ ...rings, question: 'Ünïcode 🪐?' })}`;
  for (const step of [1, 3, 1000]) {
    const { items } = await read(text, { step });
    expect(items.map(({ row, question }) => [row, question])).toEqual([
      [0, 'Which planet has rings?'],
      [2, 'Ünïcode 🪐?'],
    ]);
  }
});

it.each([
  [
    'an answer past the choices',
    { ...rings, answer: 2 },
    'rows.jsonl:2: answer: is out of range: 2 choices have the indices 0 to 1, got 2',
  ],
  [
    'a negative answer',
    { ...rings, answer: -2 },
    'rows.jsonl:2: answer: is out of range: 2 choices have the indices 0 to 1, got -2',
  ],
  [
    'an answer that is no label',
    { ...rings, answer: 'S' },
    'rows.jsonl:2: answer: is not among the labels A, B, got "S"',
  ],
  [
    'an answer of another type',
    { ...rings, answer: 0.5 },
    'rows.jsonl:2: answer: must be an index or a label, got 0.5',
  ],
  [
    'no question',
    { choices: ['a', 'b'] },
    'rows.jsonl:2: question: is required (or prompt), got the field "choices"',
  ],
  [
    'question and prompt',
    { ...rings, prompt: 'x' },
    'rows.jsonl:2: prompt: stands beside question; keep one of them, got "x"',
  ],
  [
    'an empty question',
    { ...rings, question: ' ' },
    'rows.jsonl:2: question: must not be empty, got " "',
  ],
  [
    'one choice',
    { ...rings, choices: ['a'] },
    'rows.jsonl:2: choices: needs at least 2 choices, got ["a"]',
  ],
  [
    'a choice that is no text',
    { ...rings, choices: ['a', {}] },
    'rows.jsonl:2: choices[1]: must be a text, got {}',
  ],
  [
    'labels for other choices',
    { ...rings, labels: ['A'] },
    'rows.jsonl:2: labels: must be 2, one per choice, got ["A"]',
  ],
  [
    'equal labels',
    { ...rings, labels: ['A', 'A'] },
    'rows.jsonl:2: labels: must differ from each other, got ["A","A"]',
  ],
  ['a list', [1], 'rows.jsonl:2: must be an object'],
])('refuses %s with file, line and field', async (_, row, message) => {
  expect(await complaint(lines(rings, row))).toBe(message);
});

it('has a label for each of any number of choices', async () => {
  const choices = Array.from({ length: 30_000 }, (_, index) => `c${index}`);
  const { items } = await read(lines({ ...rings, choices }));
  const labels = items[0]?.labels ?? [];
  expect(
    [0, 25, 26, 51, 52, 53, 78, 727, 728, 729, 18_303, 18_304].map((at) => labels[at]),
  ).toEqual([...['A', 'Z', 'a', 'z', 'AA', 'AB', 'BA', 'ZZ', 'AAA', 'AAB', 'ZZZ', 'AAAA']]);
  expect(new Set(labels).size).toBe(choices.length);
});

it('refuses what is not JSON, with its line', async () => {
  expect(await complaint(`${lines(rings)}{"question": \n`)).toMatch(
    /^rows\.jsonl:2: is not valid JSON: /,
  );
});

it('refuses bad UTF-8, with its line', async () => {
  const bad = Uint8Array.from([...new TextEncoder().encode(lines(rings)), 0x22, 0xff, 0x22, 0x0a]);
  expect(await complaint(bad)).toBe('rows.jsonl:2: is not valid UTF-8');
  const badCsv = Uint8Array.from([
    ...new TextEncoder().encode('question,choice1,choice2\nWhy?,a,'),
    0xff,
    0x0a,
  ]);
  expect(await complaint(badCsv, { format: 'csv' })).toBe('rows.csv:2: is not valid UTF-8');
});

it('tells an empty file from a file without rows', async () => {
  expect(await complaint('')).toBe('rows.jsonl: the file is empty');
  expect(await complaint('\n\n')).toBe('rows.jsonl: holds no rows');
  expect(await complaint('question,choices\n', { format: 'csv' })).toBe('rows.csv: holds no rows');
});

it('refuses a line without end instead of holding it', async () => {
  const chunk = new Uint8Array(1024 * 1024).fill(0x61);
  let given = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) {
      given += chunk.length;
      yield chunk;
    }
  }
  const first = readJsonl(endless(), 'endless.jsonl').next();
  await expect(first).rejects.toMatchObject({ code: 'BPEFT_DATASET' });
  expect(given).toBeLessThanOrEqual(MAX_LINE_BYTES + chunk.length);
});

it('reads CSV with choices in columns or as a list, quotes and line breaks', async () => {
  const columns =
    'id,question,choice1,choice2,choice3,answer\nq1,"Which, of ""these""?",Mars,Saturn,,B\nq2,"two\nlines",a,b,c,2\n';
  const { items } = await read(columns, { format: 'csv' });
  expect(
    items.map(({ row, id, question, choices, answer }) => ({ row, id, question, choices, answer })),
  ).toEqual([
    { row: 0, id: 'q1', question: 'Which, of "these"?', choices: ['Mars', 'Saturn'], answer: 1 },
    { row: 1, id: 'q2', question: 'two\nlines', choices: ['a', 'b', 'c'], answer: 2 },
  ]);
  const list = 'question,choices,answer,note\nWhy?,"[""a"",""b""]",,x\n';
  expect((await read(list, { format: 'csv' })).items[0]).toMatchObject({
    choices: ['a', 'b'],
    answer: null,
    meta: { note: 'x' },
  });
});

it.each([
  ['a short record', 'question,choice1,choice2\nWhy?,a\n', /^rows\.csv:2: is not valid CSV: /],
  [
    'a repeated column',
    'question,question\nWhy?,a\n',
    'rows.csv:1: names the column "question" twice',
  ],
  [
    'a list that is none',
    'question,choices\nWhy?,a|b\n',
    'rows.csv:2: choices: must be a list in JSON, got "a|b"',
  ],
  [
    'a gap in the choices',
    'question,choice1,choice2,choice3\nWhy?,a,,c\n',
    'rows.csv:2: choice2: is empty although a later choice is not',
  ],
  [
    'an answer past the choices',
    'question,choice1,choice2,answer\nWhy?,a,b,2\n',
    'rows.csv:2: answer: is out of range: 2 choices have the indices 0 to 1, got "2"',
  ],
])('refuses CSV with %s', async (_, text, message) => {
  expect(await complaint(text, { format: 'csv' })).toMatch(message);
});

it('sorts the class names found in classification rows', async () => {
  const rows = lines({ text: 'good', label: 'pos' }, { text: 'bad', label: 'neg' }, { text: 'hm' });
  const { items, labelNames, classCount } = await read(rows, { family: 'classification' });
  expect(labelNames).toEqual(['neg', 'pos']);
  expect(classCount).toBe(2);
  expect(items.map(({ answer }) => answer)).toEqual([1, 0, null]);
  const numbers = lines({ text: 'x', label: 10 }, { text: 'y', label: 9 });
  expect((await read(numbers, { family: 'classification' })).labelNames).toEqual(['9', '10']);
});

it('reads pairs of texts, and labels as names or indices of given classes', async () => {
  const rows = lines(
    { text1: 'a', text2: 'b', label: 'yes' },
    { sentence1: 'c', sentence2: 'd', label: 0 },
    { sentence: 'e', label: 1 },
  );
  const { items } = await read(rows, { family: 'classification', labels: ['no', 'yes'] });
  expect(items.map(({ texts, answer }) => [texts, answer])).toEqual([
    [['a', 'b'], 1],
    [['c', 'd'], 0],
    [['e'], 1],
  ]);
});

it.each([
  [
    'a label among none',
    { text: 'a', label: 'maybe' },
    'rows.jsonl:1: label: is not among the classes no, yes, got "maybe"',
  ],
  [
    'an index past the classes',
    { text: 'a', label: 2 },
    'rows.jsonl:1: label: is not among the classes no, yes, got "2"',
  ],
  [
    'no text',
    { label: 'no' },
    'rows.jsonl:1: text: is required (or text1 and text2), got the field "label"',
  ],
  [
    'half a pair',
    { text1: 'a', label: 'no' },
    'rows.jsonl:1: text2: is required, got the fields "text1", "label"',
  ],
  [
    'two kinds of text',
    { text: 'a', sentence: 'b' },
    'rows.jsonl:1: sentence: stands beside text; keep one of them, got "b"',
  ],
])('refuses a classification row with %s', async (_, row, message) => {
  expect(await complaint(lines(row), { family: 'classification', labels: ['no', 'yes'] })).toBe(
    message,
  );
});

it('reads any number of classes in a time that grows as the rows do', async () => {
  const names = Array.from({ length: 20_000 }, (_, index) => `class ${index}`).sort();
  const rows = names.map((label) => ({ text: 't', label }));
  const { items, labelNames } = await read(lines(...rows), { family: 'classification' });
  expect(labelNames).toEqual(names);
  expect(items.map(({ answer }) => answer)).toEqual(names.map((_, index) => index));
}, 5_000);

it('refuses a number of classes that are none', async () => {
  expect(await complaint(lines({ text: 't', label: 'a' }), { family: 'classification' })).toBe(
    'rows.jsonl: needs at least 2 classes, got 1 (a)',
  );
  expect(await complaint(lines({ text: 't' }), { family: 'classification' })).toBe(
    'rows.jsonl: no row has a label, so the class names are unknown',
  );
});

it.each([
  [
    'winogrande',
    { sentence: 'a _ b', option1: 'x', option2: 'y', answer: 3 },
    'rows.jsonl:1: answer: must be 1 or 2, got 3',
  ],
  [
    'winogrande',
    { sentence: 'a b', option1: 'x', option2: 'y', answer: 1 },
    'rows.jsonl:1: sentence: must mark the gap with _, got "a b"',
  ],
  [
    'boolq',
    { question: 'q', passage: 'p', answer: 'yes' },
    'rows.jsonl:1: answer: must be true or false, got "yes"',
  ],
] as const)('refuses a malformed row of %s', async (family, row, message) => {
  expect(await complaint(lines(row), { family })).toBe(message);
});

it.each([
  ['a field is missing', { prompt: 'p', completion: 'c' }, 'multiple-choice'],
  ['the row is no object', [1, 2], 'multiple-choice'],
  ['a text is missing', { label: 'a' }, 'classification'],
] as const)('shows what rows look like where %s', async (_, row, family) => {
  await expect(read(lines(row), { family })).rejects.toMatchObject({
    hint: expect.stringMatching(/^rows are \{"question".*\{"text"/),
  });
});

it('gives no such hint where a value is wrong, or the rows are of a named dataset', async () => {
  await expect(read(lines({ ...rings, answer: 2 }))).rejects.toMatchObject({ hint: undefined });
  await expect(read(lines({}), { family: 'boolq' })).rejects.toMatchObject({
    hint: 'a field that is empty counts as missing',
  });
});
