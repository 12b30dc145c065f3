import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { BpeftProcess, type Finished, type ProcessOptions } from '../support/bpeft-process.ts';
import { arcRepository, dataDir } from '../support/hub-rows.ts';
import { StandInHub } from '../support/hub-server.ts';
import { parquet } from '../support/parquet.ts';
import { randomModel } from '../support/random-model.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const MODEL = 'HuggingFaceTB/SmolLM2-135M';
const ARC = 'allenai/ai2_arc';
const arc = arcRepository(dataDir, 40);
let server: StandInHub;
let cache: string;
let folder: string;

beforeAll(async () => {
  server = await StandInHub.start();
  server.publish(MODEL, randomModel());
});
afterAll(() => server.stop());
beforeEach(() => {
  [cache, folder] = [temporaryFolder(), temporaryFolder()];
  server.requests.length = 0;
  server.faults = [];
  server.claims.clear();
  server.publishDataset(ARC, arc);
});

function start(args: readonly string[], options: ProcessOptions = {}): BpeftProcess {
  const environment = {
    HF_ENDPOINT: server.url,
    HF_HUB_CACHE: cache,
    HF_TOKEN: '',
    ...options.environment,
  };
  return new BpeftProcess(args, { cwd: folder, ...options, environment });
}

function bpeft(args: readonly string[], options: ProcessOptions = {}): Promise<Finished> {
  return start(args, options).finished;
}

const command = ['train', '--model', MODEL, '--dataset', `${ARC}:ARC-Easy`, '--method', 'blob'];
const shortly = ['--max-steps', '2', '--eval-samples', '2', '--max-seq-len', '1500'];
const json = (...path: string[]) => JSON.parse(readFileSync(join(folder, ...path), 'utf8'));

it('trains on what a researcher types: a model and a dataset by their names', async () => {
  const commit = server.publishDataset(ARC, arc).commit;
  const { code, stderr } = await bpeft([...command, ...shortly]);
  expect([code, stderr]).toEqual([0, expect.stringContaining(`downloaded ${ARC}`)]);
  const run = 'runs/blob-ai2_arc-arc-easy-seed1';
  const hub = { repository: ARC, revision: commit, configuration: 'ARC-Easy' };
  const split = (name: string, rows: number) => ({
    ...{ name: 'ARC-Easy', split: name, rows, licence: 'CC BY-SA 4.0', hub },
    files: [
      {
        path: `ARC-Easy/${name}-00000-of-00001.parquet`,
        sha256: expect.stringMatching(/^\w{64}$/),
        rows,
      },
    ],
  });
  expect(json(run, 'result.json').data).toEqual({
    train: split('train', 40),
    evaluation: [split('validation', 40)],
  });
  expect(json(run, 'config.json')).toMatchObject({
    config: { model: MODEL, dataset: `${ARC}:ARC-Easy` },
    model: { name: MODEL, revision: expect.stringMatching(/^\w{40}$/) },
    datasets: { train: { hub } },
  });

  // The same numbers by the short name, now without a network.
  const offline = { environment: { HF_HUB_OFFLINE: '1' } };
  const named = ['train', '--model', MODEL, '--dataset', 'ARC-Easy', '--out', 'named', ...shortly];
  expect((await bpeft(named, offline)).code).toBe(0);
  const { metrics } = json(run, 'result.json');
  expect(json('named', 'result.json').metrics).toEqual(metrics);
  const evaluated = await bpeft(['eval', '--run', run, '--samples', '2', '--json'], offline);
  expect([evaluated.code, JSON.parse(evaluated.stdout)]).toMatchObject([0, { metrics }]);
});

it('asks for a configuration, and writes nothing', async () => {
  const { code, stderr } = await bpeft(['train', '--model', MODEL, '--dataset', ARC]);
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(
      /has 2 configurations: which one\?\n.*its configurations: ARC-Challenge, ARC-Easy/,
    ),
  ]);
  expect(existsSync(join(folder, 'runs'))).toBe(false);
});

it('lists, shows and previews datasets by their names', async () => {
  const preview = await bpeft(['datasets', 'preview', `${ARC}:ARC-Easy`, '--limit', '1']);
  const own = await bpeft([
    'datasets',
    'preview',
    'ARC-Easy',
    '--limit',
    '1',
    '--data-dir',
    dataDir,
  ]);
  expect(preview).toMatchObject({ code: 0, stdout: own.stdout });
  const texts = await bpeft([
    ...['datasets', 'preview', `${ARC}:ARC-Easy`, '--limit', '1', '--encoder'],
  ]);
  expect(texts).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(
      /^--- row 0, A B C D, answer [A-D]\nSelect one of the choices that answers the following question: .* Choices: A\. .* Answer:\n$/,
    ),
  });
  const pulled = await bpeft(['datasets', 'pull', 'ARC-Challenge']);
  expect(pulled).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^allenai\/ai2_arc@\w{40}\ntrain {2}\d+ rows in/),
  });
  const shown = await bpeft(['datasets', 'show', `${ARC}:ARC-Challenge`]);
  expect(shown.stdout).toMatch(/present: \["train","validation"\]/);
});

it('takes columns of other names, and suggests them', async () => {
  const rows = Array.from({ length: 8 }, (_, row) => ({
    prompt: `Which is ${row}?`,
    opa: 'this',
    opb: 'that',
    cop: row % 2,
  }));
  mkdirSync(join(folder, 'mine'));
  writeFileSync(join(folder, 'mine', 'train.parquet'), parquet(rows));
  const options = ['--model', 'builtin:random', '--dataset', './mine', '--max-steps', '1'];
  const refused = await bpeft(['train', ...options]);
  expect(refused.stderr).toContain('try --columns question=prompt,choices=opa+opb,answer=cop');
  const columns = ['--columns', 'question=prompt,choices=opa+opb,answer=cop'];
  expect((await bpeft(['train', ...options, ...columns, '--out', 'run'])).code).toBe(0);
  const predicted = await bpeft([
    'predict',
    'mine/train.parquet',
    '--run',
    'run',
    '--samples',
    '2',
  ]);
  expect([predicted.code, predicted.stderr, predicted.stdout.trim().split('\n').length]).toEqual([
    0,
    '',
    8,
  ]);
});

/** A dataset of two files, each in LFS. */
function publishLarge(): void {
  const shard = (from: number) =>
    Array.from({ length: 2000 }, (_, row) => ({ text: `${Math.sin(from + row)}`, label: row % 2 }));
  const file = (from: number) => parquet(shard(from), { codec: 'UNCOMPRESSED' });
  server.publishDataset('tiny-org/large', {
    'train-00000-of-00002.parquet': file(0),
    'train-00001-of-00002.parquet': file(2000),
  });
}

const parts = () => {
  const blobs = join(cache, 'datasets--tiny-org--large', 'blobs');
  const names = existsSync(blobs) ? readdirSync(blobs) : [];
  return names
    .filter((name) => name.endsWith('.bpeft.incomplete'))
    .map((name) => statSync(join(blobs, name)).size);
};

it('goes on after kill -9 in mid-download, and asks for nothing twice but the torn file', async () => {
  publishLarge();
  server.faults = [{ kind: 'whole' }, { kind: 'stall', after: 30_000 }];
  server.stored.length = 0;
  const pull = ['datasets', 'pull', 'tiny-org/large'];
  const killed = start(pull);
  // One of the files is whole then, and has its name.
  const isTorn = () => server.stored.length === 2 && parts().join() === '30000';
  for (const end = performance.now() + 20_000; !isTorn() && performance.now() < end; )
    await pause(20);
  killed.kill('SIGKILL');
  expect([(await killed.finished).code, parts()]).toEqual([null, [30_000]]);
  const offline = await bpeft(pull, { environment: { HF_HUB_OFFLINE: '1' } });
  expect(offline).toMatchObject({ code: 2, stderr: expect.stringContaining('is not whole in') });

  server.stored.length = 0;
  const { code, stdout } = await bpeft(pull);
  expect([code, stdout, parts()]).toEqual([0, expect.stringContaining('train  4000 rows in'), []]);
  expect(server.stored.map(({ range }) => range)).toEqual(['bytes=30000-']);
});

it('lets two processes at once share one download', async () => {
  publishLarge();
  server.stored.length = 0;
  const pull = ['datasets', 'pull', 'tiny-org/large'];
  const both = await Promise.all([bpeft(pull), bpeft(pull)]);
  expect(both.map(({ code }) => code)).toEqual([0, 0]);
  expect(both[0]?.stdout).toBe(both[1]?.stdout);
  expect(server.stored.map(({ range }) => range)).toEqual([undefined, undefined]);
  expect(parts()).toEqual([]);
});

it('keeps what came before the disk was full, and goes on from there', async () => {
  const large = Array.from({ length: 2000 }, (_, row) => ({
    text: `${Math.sin(row)} ${row}`,
    label: row % 2,
  }));
  const file = parquet(large, { codec: 'UNCOMPRESSED' });
  server.publishDataset('tiny-org/large', { 'train.parquet': file });
  const preview = ['datasets', 'preview', 'tiny-org/large', '--limit', '1'];
  const full = await bpeft(preview, { limitFileKb: 20 });
  expect(full).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('the disk is full: free some space'),
  });
  server.stored.length = 0;
  expect((await bpeft(preview)).code).toBe(0);
  expect(server.stored.map(({ range }) => range)).toEqual([
    expect.stringMatching(/^bytes=[1-9]\d*-$/),
  ]);

  server.claims.set('train.parquet', 1e15);
  server.publishDataset('tiny-org/huge', { 'train.parquet': Buffer.concat([file, file]) });
  server.stored.length = 0;
  const huge = await bpeft(['datasets', 'preview', 'tiny-org/huge']);
  expect(huge.stderr).toMatch(/tiny-org\/huge needs 1000(\.0)? TB more, but .* has room for/);
  expect(server.stored).toEqual([]);
});

it('locks the model and the data of a configuration, and trains on these or not at all', async () => {
  const model = server.publish(MODEL, randomModel());
  const text = (name: string) =>
    `{"text":"${name}","label":"a"}\n{"text":"not ${name}","label":"b"}\n`.repeat(4);
  const data = server.publishDataset('tiny-org/texts', {
    'train.jsonl': text('x'),
    'validation.jsonl': text('y'),
  });
  const file = { model: MODEL, dataset: 'tiny-org/texts', max_steps: 1, eval_samples: [0] };
  writeFileSync(join(folder, 'run.json'), JSON.stringify(file));
  const locked = await bpeft(['lock', '--config', 'run.json']);
  const pinned = [`${MODEL}@${model.commit}`, `tiny-org/texts@${data.commit}:default`];
  expect([locked.code, locked.stdout]).toEqual([
    0,
    `${MODEL}  ${pinned[0]}\ntiny-org/texts  ${pinned[1]}\nwritten: bpeft.lock.json\n`,
  ]);

  // Both move; the locked run stays with what it was.
  server.publish(MODEL, { ...randomModel(), 'config.json': `${randomModel()['config.json']}\n` });
  server.publishDataset('tiny-org/texts', {
    'train.jsonl': text('z'),
    'validation.jsonl': text('y'),
  });
  const run = ['train', '--config', 'run.json', '--lock', 'bpeft.lock.json'];
  expect((await bpeft([...run, '--out', 'run'])).code).toBe(0);
  expect(json('run', 'config.json')).toMatchObject({
    config: { model: pinned[0], dataset: pinned[1] },
    model: { revision: model.commit },
    datasets: { train: { hub: { revision: data.commit } } },
  });
  const other = await bpeft([...run, '--dataset', 'tiny-org/else']);
  expect(other).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('does not hold the dataset tiny-org/else'),
  });

  // Files of one's own are held by their hashes alone.
  writeFileSync(join(folder, 'mine.jsonl'), text('x'));
  const mine = ['--model', 'builtin:random', '--dataset', './mine.jsonl', '--max-steps', '1'];
  expect((await bpeft(['lock', 'mine.lock.json', ...mine])).stdout).toContain(
    './mine.jsonl  by its hash',
  );
  appendFileSync(join(folder, 'mine.jsonl'), text('more'));
  const changed = await bpeft(['train', ...mine, '--lock', 'mine.lock.json', '--out', 'mine']);
  expect(changed.stderr).toMatch(
    /mine mine, mine\.jsonl, has the SHA-256 \w{64}, where mine\.lock\.json holds \w{64}/,
  );
  expect(existsSync(join(folder, 'mine'))).toBe(false);
});
