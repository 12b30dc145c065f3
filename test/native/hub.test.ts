import { createHash } from 'node:crypto';
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { assetPath } from '../../ts/assets.ts';
import type { Progress } from '../../ts/engine/call.ts';
import { loadModel } from '../../ts/engine/model.ts';
import { type Hub, hubFrom } from '../../ts/hub/environment.ts';
import { parseModelId } from '../../ts/hub/model-id.ts';
import { pullModel } from '../../ts/hub/pull.ts';
import { randomBelow } from '../../ts/metrics/random.ts';
import { evaluate } from '../../ts/run/evaluation/evaluate.ts';
import { train } from '../../ts/run/training/train.ts';
import { StandInHub, TOKEN } from '../support/hub-server.ts';
import { randomModel } from '../support/random-model.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const files = randomModel();
const weights = files['model.safetensors'] as Buffer;
const pair = { 'config.json': files['config.json'] ?? '', 'model.safetensors': weights };
/** SHA-256 of what is in LFS, git's hash of the rest. */
const blobNames = [gitHash(Buffer.from(pair['config.json'])), sha256(weights)].toSorted();
const needed = ['config.json', 'model.safetensors', 'tokenizer.json'];
let server: StandInHub;
let cache: string;

function sha256(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function gitHash(bytes: Buffer): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

beforeAll(async () => {
  server = await StandInHub.start();
});
afterAll(() => server.stop());
beforeEach(() => {
  cache = temporaryFolder();
  server.requests.length = 0;
  server.stored.length = 0;
  server.publish('tiny-org/tiny', files);
});
afterEach(() => {
  vi.unstubAllEnvs();
  [server.faults, server.apiFaults] = [[], []];
});

function hub(more: Partial<Hub> = {}): Hub {
  return { endpoint: server.url, cache, token: null, isOffline: false, ...more };
}

function pull(name: string, more: Partial<Hub> = {}, call = {}) {
  const id = parseModelId(name);
  if (id === null) throw new Error(`${name} is no model's name`);
  return pullModel(id, call, hub(more));
}

const folder = (name = 'tiny-org/tiny') => join(cache, `models--${name.replace('/', '--')}`);
const blobs = () =>
  existsSync(join(folder(), 'blobs')) ? readdirSync(join(folder(), 'blobs')) : [];

it('trains two steps on a model by its name, and knows it again', async () => {
  vi.stubEnv('HF_ENDPOINT', server.url);
  vi.stubEnv('HF_HUB_CACHE', cache);
  vi.stubEnv('HF_TOKEN', '');
  const { commit } = server.publish('tiny-org/tiny', files);
  const out = join(temporaryFolder(), 'run');
  const options = {
    model: 'tiny-org/tiny',
    dataset: 'builtin:exam-topics',
    maxSteps: 2,
    evalLimit: 2,
  };
  const result = await train({ ...options, evalSamples: [0], maxSeqLen: 700, out });
  expect(result).toMatchObject({ model: 'tiny-org/tiny', training: { steps: 2 } });
  const json = (name: string) => JSON.parse(readFileSync(join(out, name), 'utf8'));
  expect(json('config.json').model).toMatchObject({ name: 'tiny-org/tiny', revision: commit });
  expect(json('config.json').model.files).toContainEqual({
    name: 'model.safetensors',
    bytes: weights.length,
    sha256: sha256(weights),
  });
  expect(json('adapter/adapter_config.json').base_model_name_or_path).toBe('tiny-org/tiny');

  server.requests.length = 0;
  const again = await evaluate({ run: out, samples: [0], limit: 2 });
  expect(again.metrics).toEqual(result.metrics);
  expect(server.downloads).toEqual([]);
});

it('keeps the cache that Python keeps: blobs, snapshots, refs, and no file that is not needed', async () => {
  const { commit } = server.publish('tiny-org/tiny', files);
  const { path } = await pull('tiny-org/tiny');
  expect(path).toBe(join(folder(), 'snapshots', commit));
  expect(readFileSync(join(folder(), 'refs', 'main'), 'utf8')).toBe(commit);
  expect(readdirSync(path).sort()).toEqual(needed);
  expect(readlinkSync(join(path, 'model.safetensors'))).toBe(join('../../blobs', sha256(weights)));
  const git = gitHash(Buffer.from(files['config.json'] as string));
  expect(readlinkSync(join(path, 'config.json'))).toBe(join('../../blobs', git));
  expect(blobs()).toHaveLength(3);
  expect(server.requests.filter(({ path }) => path.includes('xet'))).toEqual([]);
});

it('brings the shards that an index names', async () => {
  const { 'model.safetensors': whole, ...others } = files;
  const index = {
    weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors', c: 'model-1.safetensors' },
  };
  const shards = {
    'model-1.safetensors': 'one',
    'model-2.safetensors': 'two',
    'model-3.safetensors': 'three',
  };
  server.publish('tiny-org/tiny', {
    ...others,
    ...shards,
    'model.safetensors.index.json': JSON.stringify(index),
  });
  const { path } = await pull('tiny-org/tiny');
  const present = readdirSync(path).filter((name) => name.endsWith('.safetensors'));
  expect(present.sort()).toEqual(['model-1.safetensors', 'model-2.safetensors']);
});

it('asks for the branch again, for its files never twice, and for a commit not at all', async () => {
  const { commit } = await pull('tiny-org/tiny');
  server.requests.length = 0;
  await pull('tiny-org/tiny');
  expect(server.downloads).toEqual([]);
  expect(server.requests.length).toBeGreaterThan(0);

  const moved = server.publish('tiny-org/tiny', { ...files, 'tokenizer_config.json': '{}' });
  const warning = vi.spyOn(process, 'emitWarning').mockReturnValue();
  expect((await pull('tiny-org/tiny')).commit).toBe(moved.commit);
  const told = `tiny-org/tiny@main has moved from ${commit} to ${moved.commit}`;
  expect(warning.mock.calls.map(([message]) => message)).toEqual([told]);
  warning.mockRestore();
  expect(server.downloads).toEqual(['tokenizer_config.json']);

  server.requests.length = 0;
  expect(await pull(`tiny-org/tiny@${commit}`)).toMatchObject({ commit });
  expect(server.requests).toEqual([]);
});

it('goes on where a connection broke, at any byte', async () => {
  server.publish('tiny-org/tiny', pair);
  const breaks = [777, 64_000].map((after) => ({ kind: 'cut', after }) as const);
  const ends = [0, 1, 10_000].map((after) => ({ kind: 'short', after }) as const);
  server.faults = [{ kind: 'cut', after: 3 }, { kind: 'whole' }, ...ends, ...breaks];
  const { path } = await pull('tiny-org/tiny');
  expect(readFileSync(join(path, 'model.safetensors')).equals(weights)).toBe(true);
  const from = server.stored.map(({ range }) => Number(/\d+/.exec(range ?? '0')?.[0]));
  expect(from).toEqual([...from].sort((a, b) => a - b));
  expect(from.slice(0, 4)).toEqual([0, 0, 1, 10_001]);
  expect(from).toHaveLength(6);
});

it('leaves the right file after any sequence of faults, and no other under its name', async () => {
  server.publish('tiny-org/tiny', pair);
  const below = randomBelow(7);
  const kinds = ['cut', 'short', 'corrupt', 'whole'] as const;
  for (let round = 0; round < 3; round += 1) {
    cache = temporaryFolder();
    server.faults = Array.from({ length: 2 }, () => {
      const kind = kinds[below(kinds.length)] ?? 'cut';
      return { kind, after: below(weights.length) };
    });
    const faults = JSON.stringify(server.faults);
    // Twice altered bytes are told, and nothing of them is kept.
    const { path } = await pull('tiny-org/tiny').catch(() => pull('tiny-org/tiny'));
    const isRight = readFileSync(join(path, 'model.safetensors')).equals(weights);
    expect([faults, isRight, blobs().toSorted()]).toEqual([faults, true, blobNames]);
  }
});

it('starts anew where the server does not hear of ranges', async () => {
  server.publish('tiny-org/tiny', pair);
  server.faults = [{ kind: 'whole' }, { kind: 'short', after: 30_000 }, { kind: 'whole' }];
  const { path } = await pull('tiny-org/tiny');
  expect(readFileSync(join(path, 'model.safetensors')).equals(weights)).toBe(true);
});

it.each(['model.safetensors', 'config.json'])(
  'refuses altered bytes of %s, and asks once more',
  async (name) => {
    server.publish('tiny-org/tiny', pair);
    const first: ('corrupt' | 'whole')[] = name === 'config.json' ? [] : ['whole'];
    server.faults = [...first, 'corrupt' as const].map((kind) => ({ kind }));
    const { path } = await pull('tiny-org/tiny');
    expect(readFileSync(join(path, name)).equals(Buffer.from(files[name] ?? ''))).toBe(true);

    cache = temporaryFolder();
    server.faults = [...first, 'corrupt' as const, 'corrupt' as const].map((kind) => ({ kind }));
    await expect(pull('tiny-org/tiny')).rejects.toMatchObject({
      code: 'BPEFT_IO',
      message: `${name} of tiny-org/tiny came twice with another hash than the Hub lists`,
    });
    expect(blobs()).toHaveLength(first.length);
  },
);

it('waits as long as a busy server says, and not for ever', async () => {
  const fails = (status: number, retryAfter?: string) =>
    ({ kind: 'status', status, ...(retryAfter === undefined ? {} : { retryAfter }) }) as const;
  server.apiFaults = [fails(429, '1'), fails(500)];
  const start = performance.now();
  const { commit } = await pull('tiny-org/tiny');
  expect(performance.now() - start).toBeGreaterThan(1000);
  // What the cache holds serves while the hub does not.
  server.apiFaults = [fails(429, '3600')];
  expect(await pull('tiny-org/tiny')).toMatchObject({ commit });
  cache = temporaryFolder();
  // A date is by the server's clock: how far ours is from it does not matter.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 86_400_000 });
  server.apiFaults = [fails(503, new Date(Date.now() - 86_400_000 + 1500).toUTCString())];
  await pull('tiny-org/tiny').finally(() => vi.useRealTimers());
  cache = temporaryFolder();
  server.apiFaults = [fails(429, '3600')];
  await expect(pull('tiny-org/tiny')).rejects.toMatchObject({
    code: 'BPEFT_IO',
    message: `${server.url} cannot be reached: it answers 429, to wait 3600 s`,
  });
  server.apiFaults = Array.from({ length: 5 }, () => fails(502));
  await expect(pull('tiny-org/tiny')).rejects.toMatchObject({
    message: expect.stringContaining('502'),
  });
});

it('follows a repository to its new name', async () => {
  server.renamed.set('tiny-org/old', 'tiny-org/tiny');
  const { repository, path } = await pull('tiny-org/old');
  expect([repository, readdirSync(path).sort()]).toEqual(['tiny-org/old', needed]);
});

it('stops at once when its signal fires, and the next call loads only what is missing', async () => {
  const controller = new AbortController();
  const reason = new Error('the user went away');
  const told: Progress[] = [];
  const onProgress = (progress: Progress) => {
    told.push(progress);
    if (progress.done > 20_000) controller.abort(reason);
  };
  server.faults = [{ kind: 'whole' }, { kind: 'whole' }, { kind: 'stall', after: 40_000 }];
  const stopped = pull('tiny-org/tiny', {}, { signal: controller.signal, onProgress });
  await expect(stopped).rejects.toMatchObject({ name: 'AbortError', cause: reason });
  const part = blobs().find((name) => name.endsWith('.bpeft.incomplete'));
  const have = readFileSync(join(folder(), 'blobs', part ?? '')).length;
  expect(have).toBeGreaterThan(0);
  server.stored.length = 0;
  const { path } = await pull(
    'tiny-org/tiny',
    {},
    { onProgress: (one: Progress) => told.push(one) },
  );
  expect(server.stored.map(({ range }) => range)).toEqual([`bytes=${have}-`]);
  expect(readFileSync(join(path, 'model.safetensors')).equals(weights)).toBe(true);
  expect(told.at(-1)).toMatchObject({
    activity: 'downloading',
    done: weights.length,
    total: weights.length,
  });
});

it('loads a model by its name for a service, which may stop it and begin again', async () => {
  vi.stubEnv('HF_ENDPOINT', server.url);
  vi.stubEnv('HF_HUB_CACHE', cache);
  vi.stubEnv('HF_TOKEN', '');
  const controller = new AbortController();
  const told: Progress[] = [];
  const onProgress = (progress: Progress) => {
    told.push(progress);
    if (progress.done > 20_000) controller.abort();
  };
  server.faults = [{ kind: 'whole' }, { kind: 'whole' }, { kind: 'stall', after: 40_000 }];
  const source = { model: 'tiny-org/tiny' };
  const stopped = loadModel(source, { signal: controller.signal, onProgress });
  await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
  expect(blobs().filter((name) => name.endsWith('.bpeft.incomplete'))).toHaveLength(1);
  server.stored.length = 0;
  const model = await loadModel(source, { onProgress: (one) => told.push(one) });
  expect(model.resolved).toMatchObject({ name: 'tiny-org/tiny' });
  await model.dispose();
  expect(server.stored.map(({ range }) => range)).toEqual([expect.stringMatching(/^bytes=[1-9]/)]);
  expect(new Set(told.map(({ activity }) => activity))).toEqual(
    new Set(['downloading', 'hashing', 'reading']),
  );
});

it('lets two at once share one download', async () => {
  const [one, two] = await Promise.all([pull('tiny-org/tiny'), pull('tiny-org/tiny')]);
  expect(one).toEqual(two);
  expect(server.downloads.sort()).toEqual(needed);
});

it('sends the token to the hub, and not to the store that it redirects to', async () => {
  server.publish('tiny-org/closed', files, 'gated');
  await pull('tiny-org/closed', { token: TOKEN });
  expect(new Set(server.requests.map(({ authorization }) => authorization))).toEqual(
    new Set([`Bearer ${TOKEN}`]),
  );
  expect(server.stored).toMatchObject([{ authorization: undefined }]);
});

it.each([
  [
    'tiny-org/nothing',
    /shows no model tiny-org\/nothing: it does not exist, or is private/,
    /HF_TOKEN/,
  ],
  ['tiny-org/closed', /tiny-org\/closed is gated/, /accept its conditions at .*\/tiny-org\/closed/],
  ['tiny-org/tiny@v9', /no revision "v9"/, /branches, tags and commits/],
  ['tiny-org/tiny:Q4_K_M', /Q4_K_M names no \.gguf file of tiny-org\/tiny/, /files: none/],
  ['tiny-org/pickle', /only as a pickle \(pytorch_model\.bin\)/, /save_pretrained/],
  ['tiny-org/ggufs', /holds 2 \.gguf files: which one\?/, /tiny-org\/ggufs:a-Q4_K_M\.gguf/],
])('explains why it cannot load %s', async (name, message, hint) => {
  server.publish('tiny-org/closed', files, 'gated');
  server.publish('tiny-org/pickle', { 'config.json': '{}', 'pytorch_model.bin': 'x' });
  server.publish('tiny-org/ggufs', { 'a-Q4_K_M.gguf': 'four', 'a-Q8_0.gguf': 'eight' });
  await expect(pull(name)).rejects.toMatchObject({
    message: expect.stringMatching(message),
    hint: expect.stringMatching(hint),
  });
});

it('takes the quantisation that is asked for', async () => {
  server.publish('tiny-org/ggufs', {
    'a-Q4_K_M.gguf': 'four',
    'a-Q8_0.gguf': readFileSync(assetPath('tiny.gguf')),
  });
  const { path, file } = await pull('tiny-org/ggufs:q8_0');
  expect([file, server.downloads]).toEqual(['a-Q8_0.gguf', ['a-Q8_0.gguf']]);
  const model = await loadModel({ model: path });
  expect(model.info.format).toBe('gguf');
  await model.dispose();
});

it('needs no network for what the cache holds, and says what it lacks', async () => {
  const { commit } = await pull('tiny-org/tiny');
  server.requests.length = 0;
  expect(await pull('tiny-org/tiny', { isOffline: true })).toMatchObject({ commit });
  await expect(pull('tiny-org/tinny', { isOffline: true })).rejects.toMatchObject({
    code: 'BPEFT_MODEL_NOT_FOUND',
    hint: 'did you mean tiny-org/tiny? models there: tiny-org/tiny',
  });
  expect(server.requests).toEqual([]);
});

it('takes no half of a download for a model', async () => {
  await pull('tiny-org/tiny');
  const blob = join(folder(), 'blobs', sha256(weights));
  truncateSync(blob, 100);
  renameSync(blob, `${blob}.bpeft.incomplete`);
  await expect(pull('tiny-org/tiny', { isOffline: true })).rejects.toMatchObject({
    message: expect.stringMatching(
      /is not whole in .*: tiny-org\/tiny holds no model\.safetensors/,
    ),
    hint: 'unset HF_HUB_OFFLINE: what is missing is downloaded, and nothing twice',
  });
  await pull('tiny-org/tiny');
  expect(server.stored.at(-1)?.range).toBe('bytes=100-');
});

it('reads the environment as Python does', () => {
  const home = temporaryFolder();
  writeFileSync(join(home, 'token'), 'hf_stored\n');
  expect(hubFrom({ HF_HOME: home })).toEqual({
    endpoint: 'https://huggingface.co',
    cache: join(home, 'hub'),
    token: 'hf_stored',
    isOffline: false,
  });
  const set = {
    HF_HOME: home,
    HF_HUB_CACHE: '/c',
    HF_TOKEN: 'hf_set',
    HF_ENDPOINT: 'http://mirror/',
    HF_HUB_OFFLINE: 'on',
  };
  expect(hubFrom(set)).toEqual({
    endpoint: 'http://mirror',
    cache: '/c',
    token: 'hf_set',
    isOffline: true,
  });
  expect(() => hubFrom({ HF_ENDPOINT: 'mirror' })).toThrow(
    'HF_ENDPOINT must be an http or https address',
  );
});
