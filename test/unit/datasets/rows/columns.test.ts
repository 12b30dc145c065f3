import { beforeAll, expect, it } from 'vitest';
import { columnsFrom, mappedRow } from '../../../../ts/datasets/rows/columns.ts';
import { suggestedColumns } from '../../../../ts/datasets/rows/suggested-columns.ts';
import { speakFlags } from '../../../../ts/errors.ts';

beforeAll(speakFlags);

const place = { file: 'rows.jsonl', line: 3 };
const mapped = (row: unknown, pairs: string[], optional?: string[]) =>
  mappedRow(row, columnsFrom(pairs), place, optional);

it('takes fields from columns of other names, from columns in columns, and lists from several', () => {
  const row = {
    prompt: 'Who?',
    opa: 'Ada',
    opb: 'Ben',
    opc: null,
    meta: { cop: 1 },
    question: 'old',
    id: 'q',
  };
  const pairs = ['question=prompt', 'choices=opa+opb+opc', 'answer=meta.cop'];
  expect(mapped(row, pairs)).toEqual({
    question: 'Who?',
    choices: ['Ada', 'Ben'],
    answer: 1,
    meta: { cop: 1 },
    id: 'q',
  });
  const flat = { 'meta.cop': 0, prompt: 'Who?', opa: 'Ada', opb: 'Ben', opc: 'Cleo' };
  expect(mapped(flat, pairs)).toMatchObject({ answer: 0, choices: ['Ada', 'Ben', 'Cleo'] });
});

it('misses a column unless its field may be missing', () => {
  expect(() => mapped({ prompt: 'Who?' }, ['question=prmpt'])).toThrow(
    'rows.jsonl:3: has no column "prmpt", which --columns names',
  );
  expect(mapped({ prompt: 'Who?' }, ['question=prompt', 'answer=gold'], ['answer'])).toEqual({
    question: 'Who?',
  });
});

it.each(['prompt', 'query=prompt', 'question=', 'question=a+b', 'choices=a++b'])(
  'refuses %s',
  (pair) => {
    expect(() => columnsFrom([pair])).toThrow(
      `--columns takes pairs of a field and its column, got ${pair}`,
    );
  },
);

it('takes a field once', () => {
  expect(() => columnsFrom(['text=a', 'Text=b'])).toThrow('got Text=b');
});

it.each([
  [{ prompt: 'Who?', options: ['a', 'b'], gold: 1 }, 'question=prompt,choices=options,answer=gold'],
  [{ question: 'Who?', opa: 'a', opb: 'b', cop: 1, exp: '' }, 'choices=opa+opb,answer=cop'],
  [
    { stem: 'Who?', option_1: 'a', option_2: 'b', right: 1 },
    'question=stem,choices=option_1+option_2,answer=right',
  ],
  [{ review: 'Good.', stars: 1 }, 'text=review,label=stars'],
  [{ a: 'x', b: 'a longer text', c: true }, 'text=b,label=c'],
  [{ prompt: 'Who?', completion: 'Ada' }, null],
  [{ text: 'a', label: 'b' }, null],
  [{ n: 1 }, null],
  ['no row', null],
])('suggests columns for %j', (row, suggested) => {
  expect(suggestedColumns(row)).toBe(suggested);
});
