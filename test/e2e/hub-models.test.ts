import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { BpeftProcess, type Finished, type ProcessOptions } from '../support/bpeft-process.ts';
import { StandInHub } from '../support/hub-server.ts';
import { NO_PROXIES, StandInProxy } from '../support/proxy-server.ts';
import { randomModel } from '../support/random-model.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const files = randomModel();
const weights = files['model.safetensors'] as Buffer;
let server: StandInHub;
let cache: string;

beforeAll(async () => {
  server = await StandInHub.start();
});
afterAll(() => server.stop());
beforeEach(() => {
  cache = temporaryFolder();
  server.claims.clear();
  server.faults = [];
  server.requests.length = 0;
  server.stored.length = 0;
  server.publish('tiny-org/tiny', files);
});

function start(args: readonly string[], options: ProcessOptions = {}): BpeftProcess {
  const environment = {
    HF_ENDPOINT: server.url,
    HF_HUB_CACHE: cache,
    HF_TOKEN: '',
    ...options.environment,
  };
  return new BpeftProcess(['models', ...args], { ...options, environment });
}

function models(...args: string[]): Promise<Finished> {
  return start(args).finished;
}

const blobs = () => join(cache, 'models--tiny-org--tiny', 'blobs');
const parts = () =>
  existsSync(blobs())
    ? readdirSync(blobs()).filter((name) => name.endsWith('.bpeft.incomplete'))
    : [];

/** Waits for an unfinished download of so many bytes. */
async function partOf(bytes: number): Promise<void> {
  const isThere = () => parts().some((name) => statSync(join(blobs(), name)).size >= bytes);
  for (const end = performance.now() + 20_000; !isThere() && performance.now() < end; )
    await pause(20);
  expect(isThere()).toBe(true);
}

const downloaded = (snapshot: string) =>
  readFileSync(join(snapshot, 'model.safetensors')).equals(weights);

it('pulls, lists, shows and removes a model, and says what it does', async () => {
  const { commit } = server.publish('tiny-org/tiny', files);
  const pulled = await models('pull', 'tiny-org/tiny');
  const snapshot = join(cache, 'models--tiny-org--tiny', 'snapshots', commit);
  expect(pulled).toMatchObject({ code: 0, stdout: `tiny-org/tiny@${commit}\n${snapshot}\n` });
  expect(pulled.stderr).toMatch(/^downloading tiny-org\/tiny: 0 B of [\d.]+ kB\n/);
  expect(pulled.stderr).toMatch(/\ndownloaded tiny-org\/tiny: \d+ kB in \d+\.\d s\n$/);
  expect(pulled.stderr.match(/^downloaded/gm)).toHaveLength(1);

  const again = await start(['pull', 'tiny-org/tiny', '--json']).finished;
  expect([JSON.parse(again.stdout), again.stderr]).toEqual([
    { repository: 'tiny-org/tiny', commit, file: null, path: snapshot },
    '',
  ]);
  const { stdout } = await models('list');
  expect(stdout).toMatch(/^builtin:tiny /);
  expect(stdout).toContain(`${cache}: 1 of the Hub, `);
  expect(stdout).toMatch(new RegExp(`\\n {2}${commit} \\(main\\) {2}3 files, \\d+ kB\\n`));
  const shown = await models('show', 'tiny-org/tiny');
  expect(shown.stdout).toContain(`revision: ${commit}\ncache: `);
  expect((await models('remove', 'tiny-org/tiny')).stdout).toMatch(
    /^tiny-org\/tiny removed: \d+ kB are free\n$/,
  );
  expect(existsSync(join(cache, 'models--tiny-org--tiny'))).toBe(false);
});

it('counts what revisions share, and removes one of them without hurting the other', async () => {
  const first = server.publish('tiny-org/tiny', files);
  await models('pull', 'tiny-org/tiny');
  const more = '{"chat_template":""}';
  const second = server.publish('tiny-org/tiny', { ...files, 'tokenizer_config.json': more });
  await models('pull', 'tiny-org/tiny');
  const list = JSON.parse((await models('list', '--json')).stdout);
  const own = (commit: string) =>
    list.cached[0].revisions.find((one: { commit: string }) => one.commit === commit);
  expect(own(first.commit).shared_bytes).toBe(own(first.commit).bytes);
  expect(own(second.commit).bytes - own(second.commit).shared_bytes).toBe(more.length);
  expect(list.cached[0].bytes).toBe(own(second.commit).bytes);

  const freed = async (...args: string[]) =>
    JSON.parse((await models('remove', ...args, '--json')).stdout);
  expect(await freed(`tiny-org/tiny@${first.commit}`, '--dry-run')).toMatchObject({
    bytes: 0,
    dry_run: true,
  });
  expect(await freed('tiny-org/tiny@main', '--dry-run')).toMatchObject({ bytes: more.length });
  expect(await freed('tiny-org/tiny@main')).toMatchObject({ bytes: more.length, dry_run: false });
  const offline = { environment: { HF_HUB_OFFLINE: '1' } };
  const left = await start(['pull', `tiny-org/tiny@${first.commit}`, '--json'], offline).finished;
  expect(downloaded(JSON.parse(left.stdout).path)).toBe(true);
  const gone = await models('remove', 'tiny-org/tiny@main');
  expect(gone).toMatchObject({ code: 2, stderr: expect.stringContaining(`held: ${first.commit}`) });
  expect((await models('remove', 'tiny-org/tinny')).stderr).toContain(
    'did you mean "tiny-org/tiny"?',
  );
});

it('goes on after kill -9 in mid-download, and asks for the missing bytes only', async () => {
  server.faults = [{ kind: 'whole' }, { kind: 'whole' }, { kind: 'stall', after: 40_000 }];
  const killed = start(['pull', 'tiny-org/tiny']);
  await partOf(40_000);
  killed.kill('SIGKILL');
  expect((await killed.finished).code).toBeNull();
  const unfinished = JSON.parse((await models('list', '--json')).stdout);
  expect(unfinished.cached[0]).toMatchObject({ unfinished_bytes: 40_000 });
  const offline = await start(['pull', 'tiny-org/tiny'], { environment: { HF_HUB_OFFLINE: '1' } })
    .finished;
  expect(offline).toMatchObject({ code: 2, stderr: expect.stringContaining('is not whole in') });

  server.requests.length = 0;
  server.stored.length = 0;
  const { code, stdout } = await models('pull', 'tiny-org/tiny', '--json');
  expect([code, downloaded(JSON.parse(stdout).path), parts()]).toEqual([0, true, []]);
  expect(server.stored.map(({ range }) => range)).toEqual(['bytes=40000-']);
});

it('lets two processes at once share one download', async () => {
  const both = await Promise.all([
    models('pull', 'tiny-org/tiny'),
    models('pull', 'tiny-org/tiny'),
  ]);
  expect(both.map(({ code }) => code)).toEqual([0, 0]);
  expect(both[0]?.stdout).toBe(both[1]?.stdout);
  expect(server.downloads.toSorted()).toEqual([
    'config.json',
    'model.safetensors',
    'tokenizer.json',
  ]);
});

it('goes on by itself where a connection falls silent', async () => {
  server.faults = [{ kind: 'whole' }, { kind: 'whole' }, { kind: 'stall', after: 40_000 }];
  const environment = { HF_HUB_DOWNLOAD_TIMEOUT: '1' };
  const { code, stdout } = await start(['pull', 'tiny-org/tiny', '--json'], { environment })
    .finished;
  expect([code, downloaded(JSON.parse(stdout).path)]).toEqual([0, true]);
  expect(server.stored.at(-1)?.range).toBe('bytes=40000-');
});

it('keeps what came before the disk was full, and goes on from there', async () => {
  const full = await start(['pull', 'tiny-org/tiny'], { limitFileKb: 40 }).finished;
  expect(full).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('the disk is full: free some space'),
  });
  const [part = ''] = parts();
  const have = statSync(join(blobs(), part)).size;
  expect(have).toBeGreaterThan(0);
  server.stored.length = 0;
  const { stdout } = await models('pull', 'tiny-org/tiny', '--json');
  expect(downloaded(JSON.parse(stdout).path)).toBe(true);
  expect(server.stored.map(({ range }) => range)).toEqual([`bytes=${have}-`]);
});

it('asks for no byte of a file that is larger than the disk', async () => {
  server.claims.set('model.safetensors', 1e15);
  const { code, stderr } = await models('pull', 'tiny-org/tiny');
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(
      /tiny-org\/tiny needs 1000(\.0)? TB more, but .* has room for .*\n {2}hint: free/,
    ),
  ]);
  expect(server.stored).toEqual([]);
});

it('goes through the proxy that the environment names, unless NO_PROXY excepts the Hub', async () => {
  const proxy = await StandInProxy.start();
  const { seen, url: HTTP_PROXY } = proxy;
  const through = (environment: Record<string, string>) =>
    start(['pull', 'tiny-org/tiny'], { environment: { ...NO_PROXIES, ...environment } }).finished;
  try {
    expect((await through({ HTTP_PROXY })).code).toBe(0);
    expect(seen.length).toBe(server.requests.length + server.stored.length);
    seen.length = 0;
    expect((await through({ HTTP_PROXY, NO_PROXY: '127.0.0.1' })).code).toBe(0);
    expect(seen).toEqual([]);
    expect(await through({ HTTP_PROXY: 'socks5://user:secret@host' })).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /HTTP_PROXY must be the address of an http proxy, got "…@host"/,
      ),
    });
  } finally {
    proxy.stop();
  }
});
