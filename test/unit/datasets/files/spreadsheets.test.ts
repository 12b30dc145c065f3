import { expect, it } from 'vitest';
import { complaint, read } from '../../../support/rows.ts';

const csv = { format: 'csv', family: 'classification' } as const;

it.each([
  [
    'semicolons, as Excel writes them in Europe',
    '\uFEFFtext;label\r\n"Bad; very bad, too";no\r\nGood;yes\r\n',
  ],
  ['tabs', 'text\tlabel\nBad; very bad, too\tno\nGood\tyes\n'],
  ['a line sep=', 'sep=|\ntext|label\nBad; very bad, too|no\nGood|yes\n'],
  [
    'a line sep= and a byte order mark',
    '\uFEFFsep=;\r\ntext;label\r\n"Bad; very bad, too";no\r\nGood;yes\r\n',
  ],
  ['capitals in the headings', ' Text ,LABEL\n"Bad; very bad, too",no\nGood,yes\n'],
  ['commas in a quoted heading', '"text";"a,b,c";label\n"Bad; very bad, too";;no\nGood;x;yes\n'],
  ['empty columns', 'text,label,,\n"Bad; very bad, too",no,,\nGood,yes,,left over\n'],
  ['empty rows', 'text,label\n,\n"Bad; very bad, too",no\n\n , \nGood,yes\n,\n'],
  ['line ends of an old Mac', 'text,label\r"Bad; very bad, too",no\rGood,yes\r'],
])('reads %s', async (_, text) => {
  for (const step of [1, 7, 1000]) {
    const { items, labelNames } = await read(text, { ...csv, step });
    expect(labelNames).toEqual(['no', 'yes']);
    expect(items.map(({ row, texts, answer }) => [row, texts[0], answer])).toEqual([
      [0, 'Bad; very bad, too', 0],
      [1, 'Good', 1],
    ]);
  }
});

it('counts lines from the first, also below a line sep= and empty rows', async () => {
  const text = 'sep=;\ntext;label\n;\nGood;yes\nBad;nope\n';
  expect(await complaint(text, { ...csv, labels: ['no', 'yes'] })).toMatch(/^rows\.csv:5: label: /);
});

it('numbers choices whatever the headings look like', async () => {
  const text = 'Question;Choice 1;Choice_2;CHOICE3;Answer\nWhich?;a;b;c;C\n';
  const { items } = await read(text, { format: 'csv' });
  expect(items[0]).toMatchObject({ question: 'Which?', choices: ['a', 'b', 'c'], answer: 2 });
});

it('lists the columns that were found where one is missing', async () => {
  expect(await complaint('Titel;Etikett\na;b\n', csv)).toBe(
    'rows.csv:2: text: is required (or text1 and text2), got the fields "Titel", "Etikett"',
  );
  expect(await complaint('text|label\na|b\n', csv)).toContain('got the field "text|label"');
});

it.each([
  [
    'a separator outside of quotes',
    'text,label\na,b,c\n',
    '3 cells where the header has 2 columns',
  ],
  ['a quote that is not closed', 'text,label\n"a,b\n', 'a quote is opened and never closed'],
  ['a quote inside of a cell', 'text,label\na "b" c,x\n', 'a quote stands inside a cell'],
])('says what is wrong with %s', async (_, text, reason) => {
  expect(await complaint(text, csv)).toContain(`is not valid CSV: ${reason}`);
});

it('refuses two headings for one field', async () => {
  expect(await complaint('text,Text,label\na,b,c\n', csv)).toBe(
    'rows.csv:1: names the column "text" twice',
  );
  expect(await complaint('{"text":"a","TEXT":"b"}\n', { family: 'classification' })).toBe(
    'rows.jsonl:1: text: is there twice, as "text" and "TEXT"',
  );
});
