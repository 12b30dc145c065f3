import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { readParquet } from '../../../../ts/datasets/files/parquet.ts';
import { resolveDataset } from '../../../../ts/datasets/registry.ts';
import { complaint, lines, read } from '../../../support/rows.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const rows = [
  { text: 'a ] , "', label: 'x' },
  { text: 'b \\ [ {', label: 'y' },
];
const texts = rows.map(({ text }) => text);
const classification = { family: 'classification' } as const;

it.each([
  ['indented', JSON.stringify(rows, null, 2)],
  ['on one line', JSON.stringify(rows)],
  ['after white space and a byte order mark', `\uFEFF \n\t${JSON.stringify(rows)}\n\n`],
])('reads a JSON list that is %s, whatever the pieces', async (_, text) => {
  for (const step of [1, 7, 1000]) {
    const { items } = await read(text, { ...classification, step });
    expect(items.map(({ row, texts }) => [row, ...texts])).toEqual(
      texts.map((text, row) => [row, text]),
    );
  }
});

it.each([
  [
    'without an end',
    '[\n{"text":"a","label":"x"},\n',
    'rows.jsonl:3: is not valid JSON: the list does not end',
  ],
  [
    'with more behind it',
    '[{"text":"a","label":"x"}]\n{}',
    'rows.jsonl:2: is not valid JSON: nothing may follow',
  ],
  ['with a hole', '[{"text":"a"},\n,{}]', 'rows.jsonl:2: is not valid JSON: an element is missing'],
  [
    'with a bad element',
    '[{"text":"a"},\n{"text":}]',
    'rows.jsonl, row 2 (line 2): is not valid JSON: ',
  ],
  ['of texts', '["a","b"]', 'rows.jsonl, row 1 (line 1): must be an object'],
  ['of nothing', '[]', 'rows.jsonl: holds no rows'],
])('refuses a JSON list %s, with its place', async (_, text, message) => {
  expect(await complaint(text, classification)).toContain(message);
});

it.each([
  ['a web page', '<!DOCTYPE html><html><body>Not found', /is a web page.*/, /"raw" or "download"/],
  ['an answer of a store', '<?xml version="1.0"?><Error>', /is a web page/, /"raw"/],
  [
    'a Git LFS pointer',
    'version https://git-lfs.github.com/spec/v1\noid',
    /Git LFS pointer/,
    /git lfs pull/,
  ],
  ['a spreadsheet', 'PK\u0003\u0004', /is a spreadsheet or a zip archive/, /save the sheet as CSV/],
  ['a Parquet file', 'PAR1', /is a Parquet file/, /the ending \.parquet/],
])('says that a file is %s, whatever it is called', async (_, text, message, hint) => {
  for (const format of ['jsonl', 'csv'] as const) {
    await expect(read(text, { format })).rejects.toMatchObject({
      code: 'BPEFT_DATASET',
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    });
  }
  const packed = gzipSync(gzipSync('{}'));
  await expect(read(packed)).rejects.toMatchObject({ hint: 'unpack it first' });
  await expect(read(Uint8Array.from([0xff, 0xfe, 0x74, 0]))).rejects.toMatchObject({
    message: 'rows.jsonl: is UTF-16',
  });
});

it.each<[string, string | Buffer, RegExp, RegExp]>([
  ['a web page', '<html>', /: is a web page, not the rows$/, /"raw" or "download"/],
  ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\n', /LFS pointer/, /lfs pull/],
  ['an archive', 'PK\u0003\u0004', /is a spreadsheet or a zip archive/, /unpack it first/],
  ['packed', gzipSync('PAR1'), /: is packed$/, /unpack it first/],
  ['JSON Lines', '{"text": "a"}\n', /is no Parquet file/, /give it the ending of what it holds/],
])('says that a file called .parquet is %s', async (_, content, message, hint) => {
  const path = join(temporaryFolder(), 'train.parquet');
  writeFileSync(path, content);
  await expect(readParquet({ path, isNamed: false }).next()).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: expect.stringMatching(message),
    hint: expect.stringMatching(hint),
  });
});

it.each(['train.JSONL', 'train.ndjson', 'train.json', 'TRAIN.Json', 'train.CSV', 'train.tsv'])(
  'reads a folder with %s, and leaves the settings of tools alone',
  async (name) => {
    const folder = join(temporaryFolder(), 'own');
    mkdirSync(folder);
    writeFileSync(join(folder, 'dataset_info.json'), '{}');
    const table = rows
      .map(({ text, label }) => `"${text.replaceAll('"', '""')}"\t${label}\n`)
      .join('');
    const isTable = /sv$/i.test(name);
    writeFileSync(join(folder, name), isTable ? `text\tlabel\n${table}` : lines(...rows));
    const source = await resolveDataset(folder);
    expect(source.splits).toEqual([name.replace(/\..*$/, '')]);
    const { items } = await source.load(null);
    expect(items.map(({ texts }) => texts[0])).toEqual(texts);
  },
);

it('says what to do with files of other kinds', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'train.xlsx'), 'PK');
  await expect(resolveDataset(folder)).rejects.toMatchObject({
    hint: 'save the sheet as CSV (UTF-8)',
  });
  await expect(resolveDataset(join(folder, 'train.xlsx'))).rejects.toMatchObject({
    hint: 'save the sheet as CSV (UTF-8)',
  });
});
