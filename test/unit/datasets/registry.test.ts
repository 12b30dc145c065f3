import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { listDatasets, resolveDataset } from '../../../ts/datasets/registry.ts';
import { speakFlags } from '../../../ts/errors.ts';

beforeAll(speakFlags);

const dataDir = join(import.meta.dirname, '../../fixtures/data');

async function folder(files: Record<string, string>): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'bpeft-')), 'reviews');
  await mkdir(path);
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return path;
}

const row = (label: string) => `${JSON.stringify({ text: `a ${label} text`, label })}\n`;
const question = `${JSON.stringify({ question: 'q', choices: ['a', 'b'], answer: 0 })}\n`;

it("knows the reference's names, each once, with source and licence", () => {
  const names = listDatasets().map(({ name }) => name);
  expect(names).toEqual([
    'ARC-Easy',
    'ARC-Challenge',
    'obqa',
    'commonsense_qa',
    'winogrande_s',
    'winogrande_m',
    'boolq',
    'MMLU-chem',
    'MMLU-phy',
    'MMLU-bio',
    'MMLU-eng',
    'MMLU-cs',
    'MMLU-law',
    'MMLU-health',
    'exam-topics',
    'builtin:exam-topics',
    ...['cola', 'sst2', 'mrpc', 'qqp', 'qnli', 'mnli', 'rte', 'wnli', 'cb', 'wic', 'copa'],
  ]);
  for (const { source, licence, splits, trainSplit, defaultSplit } of listDatasets()) {
    expect(source).not.toBe('');
    expect(licence).not.toBe('');
    expect(splits).toHaveProperty([trainSplit]);
    expect(splits).toHaveProperty([defaultSplit]);
  }
});

it('loads validation by default, with paths relative to the data folder', async () => {
  const source = await resolveDataset('ARC-Easy', { dataDir });
  expect(source.splits).toEqual(['train', 'validation']);
  const dataset = await source.load(null);
  expect(dataset).toMatchObject({
    name: 'ARC-Easy',
    split: 'validation',
    family: 'arc',
    classCount: 5,
  });
  expect(dataset.items).toHaveLength(60);
  expect(dataset.files).toMatchObject([{ path: 'arc_easy/validation.jsonl', rows: 60 }]);
  expect((await source.load(source.trainSplit)).items).toHaveLength(200);
});

it.each([
  ['ARC-Challenge', 'train', 4, 5],
  ['obqa', 'train', 4, 4],
  ['winogrande_s', 'train', 4, 2],
  ['winogrande_m', 'validation', 4, 2],
  ['boolq', 'train', 4, 2],
  ['exam-topics', 'ood', 2, 5],
])('loads %s %s', async (name, split, rows, classes) => {
  const dataset = await (await resolveDataset(name, { dataDir })).load(split);
  expect(dataset.items).toHaveLength(rows);
  expect(dataset.classCount).toBe(classes);
});

it.each([
  ['train', 300],
  ['validation', 300],
  ['test', 1000],
  ['shift', 360],
  ['ood', 400],
])('ships exam-topics %s with %i rows, whatever the data folder', async (split, rows) => {
  const source = await resolveDataset('builtin:exam-topics', { dataDir: '/nowhere' });
  const { items } = await source.load(split);
  expect(items).toHaveLength(rows);
  expect(items.every(({ answer }) => (answer === null) === (split === 'ood'))).toBe(true);
});

it('concatenates the subjects of an MMLU group; its only split is test', async () => {
  const source = await resolveDataset('MMLU-cs', { dataDir });
  expect([source.splits, source.trainSplit, source.defaultSplit]).toEqual([
    ['test'],
    'test',
    'test',
  ]);
  const { items, files, classCount } = await source.load(null);
  expect(classCount).toBe(4);
  expect(items.map(({ row, id }) => `${row} ${id}`)).toEqual([
    '0 college_computer_science/test/0',
    '1 college_computer_science/test/1',
    '2 computer_security/test/0',
    '3 computer_security/test/1',
    '4 high_school_computer_science/test/0',
    '5 high_school_computer_science/test/1',
    '6 machine_learning/test/0',
    '7 machine_learning/test/1',
  ]);
  expect(files).toHaveLength(4);
});

it('reads truth values, options 1 and 2 and digit labels as 0-based classes', async () => {
  const load = async (name: string, split: string) =>
    (await resolveDataset(name, { dataDir })).load(split);
  const boolq = await load('boolq', 'train');
  expect(boolq.items[0]).toMatchObject({ choices: ['true', 'false'], answer: 0 });
  const winogrande = await load('winogrande_s', 'train');
  expect(winogrande.items.map(({ answer }) => answer)).toEqual([1, 0, 0, 1]);
  const arc = await load('ARC-Challenge', 'train');
  expect(arc.items[1]).toMatchObject({ labels: ['1', '2', '3', '4'], answer: 1 });
});

it('keeps the first rows under a limit', async () => {
  const source = await resolveDataset('ARC-Easy', { dataDir });
  const { items, files } = await source.load('train', { limit: 3 });
  expect(items.map((item) => item.row)).toEqual([0, 1, 2]);
  // What stands beyond them is not read, so there is no hash of the whole.
  expect(files).toEqual([{ path: 'arc_easy/train.jsonl', sha256: null, rows: 3 }]);
});

it('names the nearest dataset and the splits that exist', async () => {
  await expect(resolveDataset('ARC-Esay', { dataDir })).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: 'unknown dataset "ARC-Esay"',
    hint: expect.stringMatching(/^did you mean "ARC-Easy"\? known: ARC-Easy, ARC-Challenge, /),
  });
  const source = await resolveDataset('ARC-Easy', { dataDir });
  await expect(source.load('validaton')).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: 'ARC-Easy: unknown split "validaton"',
    hint: 'did you mean "validation"? splits that exist: train, validation',
  });
  await expect(source.load('test')).rejects.toMatchObject({
    message: 'ARC-Easy: split "test" is not there: arc_easy/test.jsonl does not exist',
    hint: 'splits that exist: train, validation',
  });
});

it('asks for the data folder, and says what it lacks', async () => {
  await expect(resolveDataset('exam-topics')).rejects.toMatchObject({
    message: 'exam-topics: needs the folder that holds the datasets',
    hint: expect.stringMatching(
      /^pass --data-dir DIR with DIR\/exam_topics\/validation.jsonl; bpeft datasets/,
    ),
  });
  await expect(resolveDataset('obqa', { dataDir: tmpdir() })).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    hint: 'check --data-dir',
  });
});

it("reads a folder of one's own and takes the classes of its training split", async () => {
  const path = await folder({
    'train.jsonl': row('pos') + row('neg') + row('mixed'),
    'validation.csv': 'text,label\nfine,pos\n',
  });
  const source = await resolveDataset(path);
  expect(source).toMatchObject({ name: 'reviews', kind: 'classification', entry: null });
  expect(source.splits).toEqual(['train', 'validation']);
  const validation = await source.load(null);
  expect(validation.labelNames).toEqual(['mixed', 'neg', 'pos']);
  expect(validation.items[0]?.answer).toBe(2);
  expect(validation.files[0]?.path).toBe('validation.csv');
});

it('keeps the order of given classes', async () => {
  const path = await folder({ 'train.jsonl': row('pos') + row('neg') });
  const dataset = await (await resolveDataset(path, { labels: ['pos', 'neg'] })).load('train');
  expect(dataset.items.map(({ answer }) => answer)).toEqual([0, 1]);
});

it('asks for the classes where no training split shows them', async () => {
  const path = await folder({ 'validation.jsonl': row('pos'), 'test.jsonl': row('pos') });
  await expect((await resolveDataset(path)).load('test')).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    hint: 'name the classes in order: --labels NAME,NAME,…',
  });
});

it('takes a sole file for training and evaluation', async () => {
  const path = await folder({ 'quiz.jsonl': question });
  const source = await resolveDataset(join(path, 'quiz.jsonl'));
  expect(source).toMatchObject({
    name: 'quiz',
    kind: 'multiple-choice',
    trainSplit: 'quiz',
    defaultSplit: 'quiz',
  });
  expect((await source.load(null)).items).toHaveLength(1);
});

it.each([
  ['no file at all', {}, 'holds no .jsonl, .json, .csv, .tsv or .parquet file'],
  [
    'two files for a split',
    { 'train.csv': 'x', 'train.jsonl': question },
    'holds two files for the split train: train.csv and train.jsonl',
  ],
  ['an empty file', { 'train.jsonl': '' }, 'holds no rows'],
])('refuses a folder with %s', async (_, files, message) => {
  const path = await folder(files as Record<string, string>);
  await expect(resolveDataset(path)).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: expect.stringContaining(message),
  });
});

it('refuses a path that leads nowhere or to something else', async () => {
  await expect(resolveDataset('./no-such-folder')).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: 'no dataset at ./no-such-folder',
  });
  const path = await folder({ 'rows.arrow': '' });
  await expect(resolveDataset(join(path, 'rows.arrow'))).rejects.toMatchObject({
    message: expect.stringContaining(
      'must be a .jsonl, .json, .csv, .tsv or .parquet file, got .arrow',
    ),
  });
});

it('names file and remedy where no row has a label', async () => {
  const path = await folder({ 'train.jsonl': '{"text":"a","labl":"pos"}\n' });
  await expect((await resolveDataset(path)).load('train')).rejects.toMatchObject({
    message: `${join(path, 'train.jsonl')}: no row has a label, so the class names are unknown`,
    hint: expect.stringContaining('a field "label"'),
  });
});
