import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { resolveDataset } from '../../../../ts/datasets/registry.ts';
import { parquet } from '../../../support/parquet.ts';
import { complaint, read } from '../../../support/rows.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const csv = { format: 'csv', family: 'classification' } as const;

it.each([
  ['LF', '\n'],
  ['CR LF', '\r\n'],
  ['CR', '\r'],
])(
  'names the line in which a row of a table begins, whatever its cells hold, with %s',
  async (_, end) => {
    const rows = [
      'text,label,n',
      '"Ä good', // line 2
      'on\ne ""here""",yes,',
      '', // line 5
      ',,',
      '"two', // line 7
      '',
      'more",no,1',
      'Bad,"no', // line 10
      'pe",',
      'Good,yes,2', // line 12
    ].join(end);
    const good = rows.replace('pe"', '"');
    const labels = ['no', 'yes'];
    for (const step of [1, 2, 7, 1000]) {
      const told = (text: string) => complaint(text, { ...csv, labels, step });
      expect(await told(rows)).toMatch(/^rows\.csv:10: label: is not among/);
      const { items } = await read(good, { ...csv, labels, step });
      expect(items.map(({ place }) => place.line)).toEqual([2, 7, 10, 12]);
      expect(await told(good.replace('2', 'x,y'))).toMatch(
        /^rows\.csv:12: is not valid CSV: 4 cells/,
      );
      expect(await told(rows.replace('pe"', 'pe'))).toMatch(/^rows\.csv:10: .* never closed$/);
      expect(await told(rows.replace('more"', 'more" x'))).toMatch(
        /^rows\.csv:7: is not valid CSV/,
      );
    }
  },
);

it.each(['csv', 'jsonl'] as const)(
  'names the line of a byte that is no UTF-8, in %s',
  async (format) => {
    const row = format === 'csv' ? 'Ä good,yes\n' : '{"text":"Ä good","label":"yes"}\n';
    const head = format === 'csv' ? 'text,label\n' : row;
    const text = Buffer.from(head + row.repeat(3));
    const bad = Buffer.concat([text, Buffer.from([0x61, 0xc4, 0x0a]), Buffer.from(row)]);
    const cut = Buffer.concat([text, Buffer.from([0x61, 0xe2, 0x82])]);
    for (const bytes of [bad, cut]) {
      for (const step of [1, 2, 5, 1000]) {
        expect(await complaint(bytes, { format, family: 'classification', step })).toBe(
          `rows.${format}:5: is not valid UTF-8`,
        );
      }
    }
  },
);

it('names rows by their number where they are no lines: of Parquet, and of a JSON list', async () => {
  const folder = temporaryFolder();
  const [table, list] = [join(folder, 'rows.parquet'), join(folder, 'rows.json')];
  const rows = [
    { question: 'a?', choices: ['x', 'y'], answer: 0 },
    { question: 'b?', choices: ['x', 'y'], answer: 7 },
  ];
  writeFileSync(list, JSON.stringify(rows));
  await expect((await resolveDataset(list)).load(null)).rejects.toMatchObject({
    message: expect.stringContaining(`${list}, row 2 (line 1): answer: is out of range`),
  });
  writeFileSync(table, parquet(rows));
  await expect((await resolveDataset(table)).load(null)).rejects.toMatchObject({
    message: expect.stringContaining(`${table}, row 2: answer: is out of range`),
  });
});
