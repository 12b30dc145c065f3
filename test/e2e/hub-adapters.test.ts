import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { BpeftProcess, type Finished } from '../support/bpeft-process.ts';
import { dataDir } from '../support/hub-rows.ts';
import { StandInHub, TOKEN } from '../support/hub-server.ts';
import { randomModel } from '../support/random-model.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const MODEL = 'tiny-org/tiny';
const rows = ['--dataset', 'ARC-Easy', '--data-dir', dataDir, '--max-seq-len', '1500'];
let server: StandInHub;
let cache: string;
let folder: string;

beforeAll(async () => {
  server = await StandInHub.start();
});
afterAll(() => server.stop());
beforeEach(() => {
  [cache, folder] = [temporaryFolder(), temporaryFolder()];
  server.requests.length = 0;
  server.publish(MODEL, randomModel());
});

function bpeft(
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<Finished> {
  const hub = { HF_ENDPOINT: server.url, HF_HUB_CACHE: cache, HF_TOKEN: '' };
  return new BpeftProcess(args, { cwd: folder, environment: { ...hub, ...environment } }).finished;
}

const train = (...more: string[]) => {
  const short = ['--max-steps', '1', '--eval-limit', '8', '--eval-samples', '0'];
  return bpeft(['train', '--model', MODEL, ...rows, ...short, ...more]);
};
const json = (...path: string[]) => JSON.parse(readFileSync(join(folder, ...path), 'utf8'));
const filesOf = (path: string) =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name))]));

it('evaluates, trains on from and makes Bayesian an adapter by its name', async () => {
  expect((await train('--method', 'mle', '--out', 'run')).code).toBe(0);
  const files = filesOf(join(folder, 'run', 'adapter'));
  const { commit } = server.publish('tiny-org/adapter', files);
  const evaluate = (...adapter: string[]) =>
    bpeft(['eval', '--model', MODEL, ...rows, '--limit', '8', '--json', ...adapter]);
  const own = await evaluate('--adapter', 'run/adapter');
  const named = await evaluate('--adapter', 'tiny-org/adapter');
  expect([named.code, JSON.parse(named.stdout).metrics]).toEqual([
    0,
    JSON.parse(own.stdout).metrics,
  ]);
  const identity = {
    ...{ name: 'tiny-org/adapter', revision: commit, sha256: expect.stringMatching(/^\w{64}$/) },
    files: Object.entries(files).map(([name, bytes]) => ({
      ...{ name, bytes: bytes.length },
      sha256: createHash('sha256').update(bytes).digest('hex'),
    })),
  };
  expect(JSON.parse(named.stdout).adapter).toEqual(identity);
  expect(JSON.parse(own.stdout).adapter).toMatchObject({ name: 'run/adapter', revision: null });
  expect(
    (await train('--init-adapter', 'tiny-org/adapter', '--method', 'mle', '--out', 'next')).code,
  ).toBe(0);
  for (const name of ['config.json', 'result.json'])
    expect(json('next', name).adapter).toEqual(identity);
  expect(json('run', 'result.json').adapter).toBeNull();
  const bayesian = [
    'bayesianize',
    '--model',
    MODEL,
    '--adapter',
    'tiny-org/adapter',
    ...rows,
    '--out',
    'tfb',
  ];
  expect((await bpeft([...bayesian, '--anchors', '4', '--samples', '2'])).code).toBe(0);
  expect(existsSync(join(folder, 'tfb', 'adapter_model.safetensors'))).toBe(true);
  const { files: _, ...made } = identity;
  expect(json('tfb', 'bpeft.json').made_of).toEqual(made);

  // Another base model: told by the record's hash, and without one by PEFT's name.
  server.publish('tiny-org/other', {
    ...randomModel(),
    'config.json': `${randomModel()['config.json']}\n`,
  });
  const other = (adapter: string) =>
    bpeft(['eval', '--model', 'tiny-org/other', ...rows, '--limit', '4', '--adapter', adapter]);
  expect((await other('tiny-org/adapter')).stderr).toContain(
    'which is not this tiny-org/other (different SHA',
  );
  const { 'bpeft.json': __, ...plain } = filesOf(join(folder, 'run', 'adapter'));
  server.publish('tiny-org/plain', plain);
  expect((await other('tiny-org/plain')).stderr).toContain(
    `trained on ${MODEL}, which is not this tiny-org/other`,
  );
});

it('finds adapters in folders of a repository, and refuses pickles', async () => {
  const files = { 'first/adapter_config.json': '{}', 'first/adapter_model.safetensors': 'x' };
  server.publish('tiny-org/several', files);
  const evaluate = (adapter: string) =>
    bpeft(['eval', '--model', MODEL, ...rows, '--adapter', adapter]);
  expect(await evaluate('tiny-org/several')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('write tiny-org/several:first; adapters there: first'),
  });
  expect((await evaluate('tiny-org/several:first')).stderr).toContain('adapter_config.json');
  server.publish('tiny-org/pickle', { 'adapter_config.json': '{}', 'adapter_model.bin': 'x' });
  expect((await evaluate('tiny-org/pickle')).stderr).toMatch(
    /only as a pickle .*\n.*save_pretrained/,
  );
  expect((await evaluate(MODEL)).stderr).toContain('it may be a model: give it as --model');
  expect((await evaluate('tiny-org/sevral')).stderr).toContain('shows no model tiny-org/sevral');
});

it('shows what it would push, and sends it when it is told to', async () => {
  expect((await train('--method', 'blob', '--out', 'run')).code).toBe(0);
  server.requests.length = 0;
  const shown = await bpeft(['push', 'run', 'tiny-org/mine']);
  expect(shown).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^adapter_config\.json {2}\d/),
  });
  expect(shown.stdout).toMatch(
    /README\.md {2}a calibration card.*\nnothing was sent to tiny-org\/mine; --yes/,
  );
  expect([server.requests, existsSync(join(folder, 'run/adapter/README.md'))]).toEqual([[], false]);

  const push = ['push', 'run', 'tiny-org/mine', '--yes'];
  expect((await bpeft(push)).stderr).toMatch(/takes no files without a token\n.*HF_TOKEN/);
  expect((await bpeft(push, { HF_TOKEN: 'hf_reader' })).stderr).toMatch(
    /not write access\n.*a token that may write there/,
  );
  expect((await bpeft(push, { HF_TOKEN: TOKEN })).stderr).toContain(
    'give --create, which makes it private',
  );
  const pushed = await bpeft([...push, '--create', '--message', 'First'], { HF_TOKEN: TOKEN });
  expect([pushed.code, pushed.stderr]).toEqual([0, expect.not.stringContaining(TOKEN)]);
  expect(server.uploads.created).toEqual([
    { type: 'model', organization: 'tiny-org', name: 'mine', private: true },
  ]);
  const [commit] = server.uploads.commits;
  expect(commit).toMatchObject({ repository: 'tiny-org/mine', summary: 'First' });
  expect(Object.fromEntries(commit?.files ?? [])).toEqual(filesOf(join(folder, 'run', 'adapter')));
  expect(commit?.files.get('README.md')?.toString()).toContain('base_model: tiny-org/tiny');

  // What the store has is not sent again.
  server.stored.length = 0;
  expect((await bpeft(push, { HF_TOKEN: TOKEN })).code).toBe(0);
  expect(server.stored).toEqual([]);
});

it('refuses to resume with a model or with data that moved, and says from where to where', async () => {
  const first = server.publish(MODEL, randomModel());
  const text = (name: string) =>
    `{"text":"${name}","label":"a"}\n{"text":"not ${name}","label":"b"}\n`.repeat(4);
  const data = server.publishDataset('tiny-org/texts', { 'train.jsonl': text('x') });
  const run = [
    'train',
    '--model',
    MODEL,
    '--dataset',
    'tiny-org/texts',
    '--out',
    'run',
    '--max-steps',
    '2',
  ];
  expect((await bpeft(run)).code).toBe(0);
  rmSync(join(folder, 'run', 'result.json'));
  const resume = ['train', '--out', 'run', '--resume'];

  const config = `${randomModel()['config.json']}\n`;
  const second = server.publish(MODEL, { ...randomModel(), 'config.json': config });
  const moved = await bpeft(resume);
  expect(moved.stderr).toContain(
    `the run's base model is ${MODEL} at ${first.commit}, and now ${MODEL} at ${second.commit}`,
  );
  expect(moved.stderr).toContain(`resume with --model ${MODEL}@${first.commit}, or start over`);
  const pinned = ['--model', `${MODEL}@${first.commit}`];

  const later = server.publishDataset('tiny-org/texts', { 'train.jsonl': text('y') });
  const changed = await bpeft([...resume, ...pinned]);
  expect(changed.stderr).toContain(
    `training data were tiny-org/texts at ${data.commit}, and now are tiny-org/texts at ${later.commit}: train.jsonl differs`,
  );
  const back = ['--dataset', `tiny-org/texts@${data.commit}:default`];
  expect(changed.stderr).toContain(back.join(' '));
  expect(await bpeft([...resume, ...pinned, ...back])).toMatchObject({ code: 0 });
});

it('holds a run to the adapter that it began from, and pins it', async () => {
  expect((await train('--method', 'mle', '--out', 'run')).code).toBe(0);
  const files = filesOf(join(folder, 'run', 'adapter'));
  const first = server.publish('tiny-org/adapter', files);
  const from = ['--method', 'mle', '--init-adapter', 'tiny-org/adapter'];
  expect((await train(...from, '--out', 'next')).code).toBe(0);
  const locked = await bpeft(['lock', 'a.lock.json', '--model', MODEL, ...rows, ...from]);
  const pinned = `tiny-org/adapter@${first.commit}`;
  expect(locked.stdout).toContain(`\ntiny-org/adapter  ${pinned}\n`);

  // It moves: the weights of another run.
  expect((await train('--method', 'mle', '--seed', '2', '--out', 'other')).code).toBe(0);
  const second = server.publish('tiny-org/adapter', filesOf(join(folder, 'other', 'adapter')));
  rmSync(join(folder, 'next', 'result.json'));
  const resume = ['train', '--out', 'next', '--resume'];
  expect((await bpeft(resume)).stderr).toMatch(
    new RegExp(
      `first adapter is tiny-org/adapter at ${first.commit}, and now tiny-org/adapter at ` +
        `${second.commit}[^]*resume with --init-adapter ${pinned}, or start over`,
    ),
  );
  expect((await bpeft([...resume, '--init-adapter', pinned])).code).toBe(0);
  const again = await train(...from, '--lock', 'a.lock.json', '--out', 'again');
  expect([again.code, json('again', 'config.json').adapter.revision]).toEqual([0, first.commit]);
  const unlocked = await train(...from.with(-1, 'tiny-org/else'), '--lock', 'a.lock.json');
  expect(unlocked.stderr).toContain(
    'does not hold the adapter tiny-org/else, but tiny-org/adapter',
  );
});
