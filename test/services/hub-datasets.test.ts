import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { resolveDataset } from '../../ts/datasets/registry.ts';
import { openHubDataset } from '../../ts/hub/pull-dataset.ts';
import { arcRepository, dataDir } from '../support/hub-rows.ts';
import { CONVERTED, StandInHub } from '../support/hub-server.ts';
import { parquet } from '../support/parquet.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { datasetsPython, runPython } from './python.ts';

const ARC = 'allenai/ai2_arc';
let python: string;
let server: StandInHub;
let cache: string;

beforeAll(async () => {
  python = datasetsPython();
  server = await StandInHub.start();
  server.publishDataset(ARC, arcRepository(dataDir, 40));
}, 600_000);
afterAll(() => server.stop());
beforeEach(() => {
  cache = temporaryFolder();
  server.requests.length = 0;
  server.stored.length = 0;
  vi.stubEnv('HF_ENDPOINT', server.url);
  vi.stubEnv('HF_HUB_CACHE', cache);
  vi.stubEnv('HF_TOKEN', '');
  vi.stubEnv('HF_HUB_OFFLINE', '');
});

/** The last line that a Python program prints. */
async function printed(program: string, more: Record<string, string> = {}): Promise<string> {
  const quiet = { HF_HUB_DISABLE_XET: '1', HF_DATASETS_DISABLE_PROGRESS_BARS: '1' };
  const own = {
    HF_DATASETS_CACHE: join(cache, 'arrow'),
    HF_ENDPOINT: server.url,
    HF_HUB_CACHE: cache,
  };
  const lines = await runPython(python, ['-c', program], { ...own, ...quiet, ...more });
  return lines.trim().split('\n').at(-1) ?? '';
}

const arc = `
from datasets import load_dataset
import json
rows = load_dataset('${ARC}', 'ARC-Easy', split='validation')
print(json.dumps([[row['question'], row['choices']['text'], row['answerKey']] for row in rows]))`;

/** What ours reads, as the Python program prints it. */
async function ours(): Promise<unknown[]> {
  const { items } = await (await resolveDataset(`${ARC}:ARC-Easy`)).load('validation');
  return items.map(({ question, choices, labels, answer }) => [
    question,
    choices,
    labels[answer ?? -1],
  ]);
}

it("reads the rows that Python's datasets reads, from the files that it has left, offline", async () => {
  const theirs = JSON.parse(
    await printed(arc).catch((e) => {
      console.log(server.requests.map((r) => r.path).join('\n'));
      throw e;
    }),
  );
  expect(theirs).toHaveLength(40);
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  server.requests.length = 0;
  expect(await ours()).toEqual(theirs);
  expect(server.requests).toEqual([]);
});

it("leaves files that Python's datasets does not load again", async () => {
  const own = await ours();
  server.requests.length = 0;
  server.stored.length = 0;
  const split = "split='validation'";
  const only = arc
    .replace(split, `data_files='ARC-Easy/validation-*', split='train'`)
    .replace("'ARC-Easy', ", '');
  expect(JSON.parse(await printed(only))).toEqual(own);
  expect([server.downloads.filter((path) => path.endsWith('.parquet')), server.stored]).toEqual([
    [],
    [],
  ]);
});

it('finds the files that the Hub has made of a dataset where its service lists them', async () => {
  const name = 'tiny-org/program';
  const table = parquet([{ text: 'a', label: 'x' }]);
  const main = server.publishDataset(name, { 'program.py': 'a program' });
  const paths = ['plain/train/0000.parquet', 'plain/train/0001.parquet', 'other/test/0000.parquet'];
  const files = Object.fromEntries(paths.map((path) => [path, table]));
  server.publishDataset(name, files, { branch: CONVERTED });
  // The service has a name of its own, which is the stand-in's here.
  const listed = await printed(
    `
import json, socket
found = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: found(str(host).removeprefix('datasets-server.'), *rest, **more)
from datasets.utils._dataset_viewer import get_exported_parquet_files
files = get_exported_parquet_files('${name}', '${main.commit}', None)
print(json.dumps([[one['config'], one['split'], one['filename'], one['size']] for one in files]))`,
    { HF_ENDPOINT: server.url.replace('127.0.0.1', 'localhost') },
  );
  const { layout } = await openHubDataset({ repository: name, revision: null });
  const own = [...layout].flatMap(([configuration, { splits }]) =>
    [...splits].flatMap(([split, of]) =>
      of.map((path) => [configuration, split, basename(path), table.length]),
    ),
  );
  expect(own).toHaveLength(3);
  expect(own.toSorted()).toEqual(JSON.parse(listed).toSorted());
});

it('reads what pyarrow writes, in every packing and both forms of pages', async () => {
  const folder = temporaryFolder();
  const codecs = ['none', 'snappy', 'gzip', 'brotli', 'lz4', 'zstd'];
  await printed(`
from datasets import Dataset, Features, ClassLabel, Value
import pyarrow.parquet as pq
texts = [f'the text {n % 7}, ' * (1 + n % 3) for n in range(3000)]
features = Features({'text': Value('string'), 'label': ClassLabel(names=['no', 'yes']), 'n': Value('int64')})
rows = {'text': texts, 'label': [n % 2 for n in range(3000)], 'n': list(range(3000))}
table = Dataset.from_dict(rows, features=features).data.table
for codec in ${JSON.stringify(codecs)}:
    for version in ('1.0', '2.0'):
        path = f'${folder}/{codec}-{version[0]}.parquet'
        pq.write_table(table, path, compression=codec, row_group_size=700, data_page_version=version)`);
  for (const name of codecs.flatMap((codec) => [`${codec}-1`, `${codec}-2`])) {
    const { items, labelNames } = await (
      await resolveDataset(join(folder, `${name}.parquet`))
    ).load(null);
    expect([name, items.length, labelNames]).toEqual([name, 3000, ['no', 'yes']]);
    const wrong = items.filter(({ texts: [text], answer, meta }, n) => {
      return text !== `the text ${n % 7}, `.repeat(1 + (n % 3)) || answer !== n % 2 || meta.n !== n;
    });
    expect(wrong).toEqual([]);
  }
});

it('reads lists in structures, absent values and classes of one split only, as Python does', async () => {
  const folder = temporaryFolder();
  const program = `
from datasets import Dataset
rows = [{'question': 'q', 'choices': {'text': ['a', 'b'], 'label': ['1', '2']}, 'answerKey': '2', 'id': None},
        {'question': 'r', 'choices': {'text': ['a', 'b', 'c'], 'label': ['A', 'B', 'C']}, 'answerKey': 'A', 'id': 'x'}]
Dataset.from_list(rows).to_parquet('${folder}/train.parquet')`;
  await printed(program);
  writeFileSync(join(folder, 'note.txt'), 'no rows');
  const { items } = await (await resolveDataset(folder)).load('train');
  expect(
    items.map(({ choices, labels, answer, id }) => [choices.length, labels[1], answer, id]),
  ).toEqual([
    [2, '2', 1, null],
    [3, 'B', 0, 'x'],
  ]);
});
