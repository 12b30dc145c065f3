import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Hub } from '../../ts/hub/environment.ts';
import { pullModel } from '../../ts/hub/pull.ts';
import { StandInHub } from '../support/hub-server.ts';
import { randomModel } from '../support/random-model.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { hubPython, runPython } from './python.ts';

const id = { repository: 'tiny-org/tiny', revision: 'main', file: null };
const files = randomModel();
let python: string;
let server: StandInHub;
let hub: Hub;

beforeAll(async () => {
  python = hubPython();
  server = await StandInHub.start();
  server.publish(id.repository, files);
}, 300_000);
afterAll(() => server.stop());
beforeEach(() => {
  server.requests.length = 0;
  server.stored.length = 0;
  hub = { endpoint: server.url, cache: temporaryFolder(), token: null, isOffline: false };
});

/** What a Python program prints that imports huggingface_hub. */
async function hubOf(program: string, more: Record<string, string> = {}): Promise<string> {
  const quiet = { HF_HUB_DISABLE_XET: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1' };
  const environment = { HF_ENDPOINT: server.url, HF_HUB_CACHE: hub.cache, ...quiet, ...more };
  const printed = await runPython(
    python,
    ['-c', `from huggingface_hub import *\n${program}`],
    environment,
  );
  return printed.trim().split('\n').at(-1) ?? '';
}

it('leaves a cache in which Python finds the model, offline and whole', async () => {
  const { path } = await pullModel(id, {}, hub);
  const offline = { HF_HUB_OFFLINE: '1' };
  expect(await hubOf(`print(hf_hub_download('tiny-org/tiny', 'model.safetensors'))`, offline)).toBe(
    join(path, 'model.safetensors'),
  );
  const scan = `cache = scan_cache_dir()
print([len(cache.warnings)] + [(r.repo_id, r.nb_files, sorted(r.refs)) for r in cache.repos])`;
  expect(await hubOf(scan, offline)).toBe("[0, ('tiny-org/tiny', 3, ['main'])]");

  // Online Python loads what is missing, and none of what is here.
  server.stored.length = 0;
  expect(await hubOf(`print(snapshot_download('tiny-org/tiny'))`)).toBe(path);
  expect(readFileSync(join(path, 'README.md'), 'utf8')).toBe(files['README.md']);
  expect(server.stored).toEqual([]);
});

it('finds the model in the cache that Python has left', async () => {
  const patterns = "['config.json', 'tokenizer.json', '*.safetensors']";
  const path = await hubOf(`print(snapshot_download('tiny-org/tiny', allow_patterns=${patterns}))`);
  server.requests.length = 0;
  expect(await pullModel(id, {}, { ...hub, isOffline: true })).toMatchObject({ path });
  expect(server.requests).toEqual([]);
  expect(await pullModel(id, {}, hub)).toMatchObject({ path });
  expect(server.downloads).toEqual([]);
});
