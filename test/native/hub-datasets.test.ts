import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { listDatasets, type ResolveOptions, resolveDataset } from '../../ts/datasets/registry.ts';
import type { Item } from '../../ts/datasets/rows/item.ts';
import { hubPlaceOf } from '../../ts/datasets/tasks/hub-places.ts';
import { speakFlags } from '../../ts/errors.ts';
import { dataDir, referenceRepositories } from '../support/hub-rows.ts';
import { StandInHub, TOKEN } from '../support/hub-server.ts';
import { classes, parquet } from '../support/parquet.ts';
import { lines } from '../support/rows.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const ARC = 'allenai/ai2_arc';
let server: StandInHub;
let cache: string;

beforeAll(async () => {
  speakFlags();
  server = await StandInHub.start();
  for (const [name, files] of Object.entries(referenceRepositories()))
    server.publishDataset(name, files);
});
afterAll(() => server.stop());
beforeEach(() => {
  cache = temporaryFolder();
  server.requests.length = 0;
  server.stored.length = 0;
  server.faults = [];
  vi.stubEnv('HF_ENDPOINT', server.url);
  vi.stubEnv('HF_HUB_CACHE', cache);
  vi.stubEnv('HF_TOKEN', '');
  vi.stubEnv('HF_HUB_OFFLINE', '');
  vi.stubEnv('HF_HUB_DISABLE_IMPLICIT_TOKEN', '1');
});

const load = async (name: string, split: string | null = null, options: ResolveOptions = {}) =>
  (await resolveDataset(name, options)).load(split);
const complaint = (name: string, split: string | null = null, options: ResolveOptions = {}) =>
  load(name, split, options).then(
    () => 'no error',
    (error: { code: string; message: string; hint?: string }) =>
      `${error.code} ${error.message} | ${error.hint}`,
  );
/** What a model is shown of a row; some ids are of the folder's makers. */
const shown = ({ context, question, texts, choices, labels, answer, row }: Item) => ({
  ...{ context, question, texts, choices, labels, answer, row },
});

const published = ['ARC-Easy', 'ARC-Challenge', 'obqa', 'winogrande_s', 'winogrande_m', 'boolq'];

it.each([...published, 'MMLU-chem', 'MMLU-phy', 'MMLU-cs'])(
  'reads the same rows of %s by its name, by its id and from a folder',
  async (name) => {
    const here = await resolveDataset(name, { dataDir });
    const place = hubPlaceOf(name);
    const byName = await resolveDataset(name);
    expect(byName).toMatchObject({ name, family: here.family, trainSplit: here.trainSplit });
    for (const split of here.splits) {
      const own = await here.load(split);
      const found = await byName.load(split);
      expect(found.items.map(shown)).toEqual(own.items.map(shown));
      expect(found).toMatchObject({
        classCount: own.classCount,
        hub: { repository: place?.repository },
      });
      const [configuration = '', ...others] = place?.configurations ?? [];
      if (others.length > 0) continue;
      const byId = await load(`${place?.repository}:${configuration}`, split);
      expect(byId).toMatchObject({ name, family: own.family, files: found.files });
      expect(byId.items).toEqual(found.items);
    }
  },
);

it('has a place on the Hub for every name but those that were made here', () => {
  const names = listDatasets().map(({ name }) => name);
  expect(names.filter((name) => hubPlaceOf(name) === null)).toEqual([
    'exam-topics',
    'builtin:exam-topics',
  ]);
});

it("reads GLUE and SuperGLUE in the Hub's columns", async () => {
  const rte = [{ sentence1: 'It rains.', sentence2: 'It is wet.', label: 0, idx: 0 }];
  const named = classes({ label: ['entailment', 'not_entailment'] });
  server.publishDataset('nyu-mll/glue', {
    'rte/train-00000-of-00001.parquet': parquet(rte, named),
    'rte/validation-00000-of-00001.parquet': parquet([{ ...rte[0], label: -1 }], named),
  });
  expect((await load('rte', 'train')).items[0]).toMatchObject({
    texts: ['It rains.', 'It is wet.'],
    answer: 0,
  });
  expect((await load('nyu-mll/glue:rte')).items[0]).toMatchObject({ answer: null });
  const wic = {
    word: 'bank',
    sentence1: 'A bank.',
    sentence2: 'The bank.',
    start1: 2,
    idx: 0,
    label: 1,
  };
  server.publishDataset(
    'aps/super_glue',
    { 'wic/validation/0000.parquet': parquet([wic], classes({ label: ['False', 'True'] })) },
    { branch: 'refs/convert/parquet' },
  );
  server.publishDataset('aps/super_glue', { 'super_glue.py': 'a program' });
  expect((await load('wic')).items[0]).toMatchObject({
    texts: ['bank', 'A bank.', 'The bank.'],
    answer: 1,
  });
  expect(await complaint('nyu-mll/glue:stsb')).toContain('is a regression');
});

it('loads the files of a split when it is read, once, and needs no network for them then', async () => {
  const source = await resolveDataset(`${ARC}:ARC-Easy`);
  expect(source.splits).toEqual(['train', 'validation']);
  expect(server.downloads).toEqual(['README.md']);
  await source.load('validation');
  expect(server.downloads).toEqual(['README.md', 'ARC-Easy/validation-00000-of-00001.parquet']);
  server.requests.length = 0;
  await load(`${ARC}:ARC-Easy`, 'validation');
  expect(server.downloads).toEqual([]);
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  server.requests.length = 0;
  const offline = await load(`${ARC}:ARC-Easy`, 'validation');
  expect(offline.items).toHaveLength(60);
  expect(offline.licence).toBe('CC BY-SA 4.0');
  expect(server.requests).toEqual([]);
  expect(await complaint(`${ARC}:ARC-Easy`, 'train')).toMatch(/splits that exist: validation/);
});

it('asks which configuration is meant, and names them', async () => {
  expect(await complaint(ARC)).toBe(
    `BPEFT_DATASET ${ARC}: has 2 configurations: which one? | write ${ARC}:ARC-Challenge; ` +
      `its configurations: ARC-Challenge, ARC-Easy; nor is there a file or folder ${ARC} here`,
  );
  expect(await complaint(`${ARC}:ARC-Eazy`)).toContain('did you mean "ARC-Easy"?');
  expect(await complaint(`${ARC}:ARC-Easy`, 'dev')).toMatch(
    /unknown split "dev".*splits that exist: train, val/,
  );
});

it('reads a dataset as its card lays it out, or by the names of its files', async () => {
  const row = (text: string) => ({ text, label: text.length % 2 });
  const head = `---
license: [mit, other]
configs:
- config_name: plain
  default: true
  data_files: "texts/*.{jsonl,csv}.gz"
- config_name: split
  data_dir: parts
  data_files:
  - {split: train, path: ["a?.jsonl", "**/b.jsonl"]}
- config_name: empty
  data_files: nothing/*
---
`;
  server.publishDataset('tiny-org/carded', {
    'README.md': head,
    'texts/one.jsonl.gz': gzipSync(lines(row('ab'))),
    'texts/two.csv.gz': gzipSync('text,label\nabc,1\n'),
    'parts/a1.jsonl': lines(row('x')),
    'parts/deep/er/b.jsonl': lines(row('xy')),
    'parts/other.jsonl': lines(row('xyz')),
  });
  const texts = async (name: string) =>
    (await load(name, 'train')).items.map(({ texts: [text] }) => text);
  expect(await texts('tiny-org/carded')).toEqual(['ab', 'abc']);
  expect(await texts('tiny-org/carded:split')).toEqual(['x', 'xy']);
  expect((await load('tiny-org/carded', 'train')).licence).toBe('mit, other');
  expect(await complaint('tiny-org/carded:empty')).toContain('its configurations: plain, split');

  server.publishDataset('tiny-org/bare', {
    'train.jsonl': lines(row('a'), row('ab')),
    'test.csv': 'text,label\nabc,1\n',
    'config.json': '{"not": "rows"}',
  });
  const bare = await resolveDataset('tiny-org/bare');
  expect(bare).toMatchObject({
    name: 'tiny-org/bare',
    family: 'classification',
    splits: ['test', 'train'],
  });
  expect((await bare.load('test')).items[0]).toMatchObject({ texts: ['abc'], answer: 1 });
  server.publishDataset('tiny-org/none', { 'README.md': '# none', 'data.zip': 'PK' });
  expect(await complaint('tiny-org/none')).toContain('holds no files of rows');
});

it('takes no part of a split for all of it, whether the cache or the repository has only that', async () => {
  const rows = (from: number) =>
    lines(...[0, 1].map((row) => ({ question: `q${from + row}`, choices: ['a', 'b'], answer: 0 })));
  const shards = {
    'train-00000-of-00002.jsonl': rows(0),
    'train-00001-of-00002.jsonl': rows(1),
    'test.jsonl': rows(2),
  };
  const { commit } = server.publishDataset('tiny-org/parts', shards);
  expect((await load('tiny-org/parts', 'test')).items).toHaveLength(2);
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  // The first shard told the task.
  expect((await load('tiny-org/parts', 'test')).items).toHaveLength(2);
  expect(await complaint('tiny-org/parts', 'train')).toBe(
    `BPEFT_DATASET dataset tiny-org/parts@${commit} is not whole in ${cache}, and HF_HUB_OFFLINE is ` +
      'set: of train-*-of-00002.jsonl: 1 files are there | unset HF_HUB_OFFLINE: what is missing is ' +
      'downloaded, and nothing twice',
  );
  vi.stubEnv('HF_HUB_OFFLINE', '');
  expect((await load('tiny-org/parts', 'train')).items).toHaveLength(4);
  const { 'train-00001-of-00002.jsonl': _, ...half } = shards;
  server.publishDataset('tiny-org/half', half);
  expect(await complaint('tiny-org/half', 'train')).toContain('it may be half uploaded');

  // Files that do not say how many they are are brought together, also to tell the task.
  server.publishDataset('tiny-org/uncounted', {
    'train/0.jsonl': rows(0),
    'train/1.jsonl': rows(1),
  });
  server.requests.length = 0;
  await resolveDataset('tiny-org/uncounted');
  expect(server.downloads.toSorted()).toEqual(['train/0.jsonl', 'train/1.jsonl']);
});

it('names classes as the file does, and columns as it is told', async () => {
  const rows = [
    { review: 'Good.', stars: 1 },
    { review: 'Bad.', stars: 0 },
  ];
  server.publishDataset('tiny-org/reviews', {
    'data/train-00000-of-00001.parquet': parquet(
      rows,
      classes({ stars: ['negative', 'positive'] }),
    ),
  });
  expect(await complaint('tiny-org/reviews', null, { task: 'classification' })).toMatch(
    /text: is required .*got the fields "review", "stars" \| try --columns text=review,label=stars; else/,
  );
  const columns = ['text=review', 'label=stars'];
  const { labelNames, items, hub } = await load('tiny-org/reviews', null, { columns });
  expect(labelNames).toEqual(['negative', 'positive']);
  expect(items.map(({ answer }) => answer)).toEqual([1, 0]);
  expect(hub).toMatchObject({ repository: 'tiny-org/reviews', configuration: 'default' });
  expect(
    await complaint('tiny-org/reviews', null, { columns: ['text=revue', 'label=stars'] }),
  ).toMatch(
    /, row 1: has no column "revue", which --columns names \| did you mean "review"\? its columns: review, stars/,
  );
});

it('holds every file against the hash that is listed, through cuts and wrong bytes', async () => {
  const whole = await load('boolq', 'train', { dataDir });
  server.faults = [{ kind: 'cut', after: 100 }, { kind: 'corrupt' }, { kind: 'short', after: 7 }];
  const { items } = await load('boolq', 'train');
  expect(items.map(shown)).toEqual(whole.items.map(shown));
  const blobs = readdirSync(join(cache, 'datasets--google--boolq', 'blobs'));
  expect(blobs.filter((name) => name.includes('incomplete'))).toEqual([]);

  server.faults = [{ kind: 'corrupt' }, { kind: 'corrupt' }];
  expect(await complaint('boolq')).toMatch(
    /^BPEFT_IO .*came twice with another hash than the Hub lists/,
  );
  const found = readdirSync(join(cache, 'datasets--google--boolq', 'snapshots'), {
    recursive: true,
  });
  expect(found.filter((name) => String(name).includes('validation'))).toEqual([]);
});

it('explains what is gated, private, unknown, or misspelt beside the cache', async () => {
  const files = { 'train.jsonl': lines({ text: 'a', label: 'x' }, { text: 'b', label: 'y' }) };
  server.publishDataset('tiny-org/gated', files, { access: 'gated' });
  expect(await complaint('tiny-org/gated')).toMatch(
    /dataset tiny-org\/gated is gated.*accept its conditions at .*\/datasets\/tiny-org\/gated/,
  );
  vi.stubEnv('HF_TOKEN', TOKEN);
  expect((await load('tiny-org/gated')).items).toHaveLength(2);
  vi.stubEnv('HF_TOKEN', '');
  expect(await complaint('tiny-org/gatted')).toMatch(
    /shows no dataset tiny-org\/gatted.*did you mean tiny-org\/gated, which the cache holds\?/,
  );
  expect(await complaint('no-such/file.jsonl')).toContain('no dataset at no-such/file.jsonl');
  expect(server.requests.some(({ path }) => path.includes('no-such'))).toBe(false);
});

it('keeps the older split in use offline until the newer one is here, and says that a branch moved', async () => {
  const row = (text: string) => lines({ text, label: 'x' }, { text: `not ${text}`, label: 'y' });
  const first = server.publishDataset('tiny-org/moving', { 'train.jsonl': row('old') });
  await load('tiny-org/moving');
  server.publishDataset('tiny-org/moving', { 'train.jsonl': row('new') });
  await resolveDataset('tiny-org/moving', { task: 'classification' }); // only asked what there is
  const text = async (name: string) => (await load(name)).items[0]?.texts[0];
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  expect(await text('tiny-org/moving')).toBe('old');
  vi.stubEnv('HF_HUB_OFFLINE', '');
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  expect(await text('tiny-org/moving')).toBe('new');
  expect(String(warned.mock.calls[0]?.[0])).toContain(`has moved from ${first.commit} to`);
  warned.mockRestore();
  expect(await text(`tiny-org/moving@${first.commit}`)).toBe('old');
});

it('refuses Parquet that is cut, altered or lies about its size', async () => {
  const file = parquet([
    { text: 'a', label: 'x' },
    { text: 'b', label: 'y' },
  ]);
  const altered = Buffer.from(file);
  altered.fill(0xff, 4, 40);
  const lying = Buffer.from(file);
  lying.writeUInt32LE(0x7fff_ffff, lying.length - 8);
  for (const [name, bytes, reason] of [
    ['cut', file.subarray(0, -9), /does not end as Parquet does/],
    ['altered', altered, /cannot be read as Parquet beyond row 0/],
    ['lying', lying, /its footer is too long/],
    ['short', Buffer.from('PAR1'), /does not end as Parquet does/],
  ] as const) {
    server.publishDataset(`tiny-org/${name}`, { 'train.parquet': bytes });
    const said = await complaint(`tiny-org/${name}`);
    expect(said).toMatch(/^BPEFT_DATASET/);
    expect(said).toMatch(reason);
  }
});

it('loses no row of a table to a reader that takes its time', async () => {
  const rows = Array.from({ length: 2000 }, (_, row) => ({ text: `text ${row}`, label: row % 2 }));
  const path = join(temporaryFolder(), 'rows.parquet');
  writeFileSync(path, parquet(rows, { rowGroupSize: 700 }));
  const { items, rows: count } = await (await resolveDataset(path)).stream(null);
  let seen = 0;
  for await (const { texts } of items()) {
    expect(texts[0]).toBe(`text ${seen}`);
    if (seen % 250 === 0) await new Promise((resolve) => setTimeout(resolve, 60));
    seen += 1;
  }
  expect([seen, count]).toEqual([2000, 2000]);
});

it('leaves a cache with the links and names that Python makes', async () => {
  const { hub } = await load('obqa');
  const folder = join(cache, 'datasets--allenai--openbookqa');
  expect(readFileSync(join(folder, 'refs', 'main'), 'utf8')).toBe(hub?.revision);
  expect(existsSync(join(folder, 'snapshots', hub?.revision ?? '', 'main'))).toBe(true);
});
