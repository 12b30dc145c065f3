import { createHash } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Push, pushFolder } from '../../ts/hub/push.ts';
import { StandInHub, TOKEN } from '../support/hub-server.ts';
import { runNode } from '../support/node-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const NAME = 'tiny-org/mine';
let server: StandInHub;

beforeAll(async () => {
  server = await StandInHub.start();
  server.publish(NAME, {});
});
afterAll(() => server.stop());

const hub = () => ({ endpoint: server.url, cache: '', token: TOKEN, isOffline: false });
const push = (folder: string, ...paths: string[]): Push => ({
  ...{ repository: NAME, folder, paths, message: 'First', isCreated: false },
});
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

it('sends a large file as a stream, and once more where the store fails', async () => {
  const folder = temporaryFolder();
  const bytes = 192 << 20;
  writeFileSync(join(folder, 'adapter_config.json'), '{"a": 1}');
  writeFileSync(join(folder, 'adapter_model.safetensors'), 'weights');
  truncateSync(join(folder, 'adapter_model.safetensors'), bytes);
  server.uploads.faults = [503];
  const call = JSON.stringify([
    hub(),
    push(folder, 'adapter_config.json', 'adapter_model.safetensors'),
  ]);
  const { stdout, stderr } = await runNode(`
    const { pushFolder } = await import(dist + 'hub/push.js');
    const mb = () => process.resourceUsage().maxRSS / 1024;
    const before = mb();
    const { commit } = await pushFolder(...${call});
    console.log(JSON.stringify({ commit, more: mb() - before }));
  `);
  expect(stderr).toBe('');
  const { commit, more } = JSON.parse(stdout);
  expect(commit).toMatch(/^\w{40}$/);
  expect(more).toBeLessThan(128);
  const files = server.uploads.commits.at(-1)?.files;
  const whole = Buffer.concat([Buffer.from('weights'), Buffer.alloc(bytes - 7)]);
  expect(sha256(files?.get('adapter_model.safetensors') ?? Buffer.alloc(0))).toBe(sha256(whole));
  expect(files?.get('adapter_config.json')?.toString()).toBe('{"a": 1}');
});

it('commits nothing where a file is gone, or is not taken', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'adapter_model.safetensors'), Buffer.alloc(30_000, 1));
  const count = server.uploads.commits.length;
  await expect(
    pushFolder(hub(), push(folder, 'adapter_model.safetensors', 'adapter_config.json')),
  ).rejects.toMatchObject({ code: 'BPEFT_IO' });
  server.uploads.faults = [403];
  await expect(pushFolder(hub(), push(folder, 'adapter_model.safetensors'))).rejects.toMatchObject({
    message: expect.stringContaining(`refuses model ${NAME}`),
  });
  expect(server.uploads.commits).toHaveLength(count);
});
