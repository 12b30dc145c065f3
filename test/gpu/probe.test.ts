/** A GPU is tried by a process of its own before this one depends on its driver. */

import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { BpeftProcess } from '../support/bpeft-process.ts';
import { type EmulatedGpu, emulatedGpu } from '../support/emulated-gpu.ts';
import { runNode } from '../support/node-process.ts';

let gpu: EmulatedGpu;

beforeAll(() => {
  gpu = emulatedGpu();
});

const home = () => mkdtempSync(join(tmpdir(), 'bpeft-home-'));

/** Where a model comes to lie, or why not; launches of this process alone. */
async function load(device: string, variables: Readonly<Record<string, string>>) {
  const script = `
const loaded = await bpeft.loadModel({ model: 'builtin:random', device: '${device}' }).catch((error) => error);
const { code, message, hint, info } = loaded;
console.log(JSON.stringify(info === undefined ? { code, message, hint } : { device: info.device, noGpu: info.noGpu }));`;
  const { code, stdout } = await runNode(script, { env: { ...gpu, ...variables } });
  return { exit: code, found: JSON.parse(stdout) };
}

it('outlives a driver that crashes, and says how it ended', async () => {
  const broken = { BPEFT_HOME: home(), CUDA_EMU_BROKEN: 'crash' };
  const message = 'cuda:0: the process that tried it ended with SIGSEGV';
  expect(await load('cuda', broken)).toEqual({
    exit: 0,
    found: { code: 'BPEFT_DEVICE', message, hint: expect.stringContaining('nvidia-smi') },
  });
  expect(await load('auto', broken)).toEqual({
    exit: 0,
    found: { device: 'cpu', noGpu: message },
  });
  const { stdout } = await new BpeftProcess(['doctor', '--json'], {
    environment: { ...gpu, ...broken },
  }).finished;
  expect(JSON.parse(stdout)).toMatchObject({
    device: 'cpu',
    gpu: { driver: null, gpus: [], problem: { message } },
    self_tests: [{ device: 'cpu', passed: true }],
  });
});

it('ends a driver that hangs, and goes on without it', async () => {
  const hanging = { BPEFT_HOME: home(), CUDA_EMU_BROKEN: 'hang', BPEFT_PROBE_SECONDS: '1' };
  const message = 'cuda:0: the process that tried it did not answer within 1 s';
  expect(await load('cuda', hanging)).toEqual({
    exit: 0,
    found: { code: 'BPEFT_DEVICE', message, hint: expect.stringContaining('nvidia-smi') },
  });
  // The verdict is kept for `auto`, which does not wait again.
  const unasked = { ...hanging, BPEFT_PROBE_SECONDS: '3600' };
  expect((await load('auto', unasked)).found).toEqual({ device: 'cpu', noGpu: message });
});

it('refuses to be patient for no time', async () => {
  const { found } = await load('cuda', { BPEFT_HOME: home(), BPEFT_PROBE_SECONDS: '0' });
  expect(found).toMatchObject({
    code: 'BPEFT_USAGE',
    message: 'BPEFT_PROBE_SECONDS must be above 0 and at most 3600, got "0"',
  });
});

it('keeps its verdict until something changes, and asks again where a GPU is insisted on', async () => {
  const cache = home();
  const file = join(cache, 'gpu-probes.json');
  const kept = () => JSON.parse(readFileSync(file, 'utf8'));
  const usable = { BPEFT_HOME: cache };
  expect((await load('auto', usable)).found.device).toBe('cuda:0');
  expect(kept()).toEqual([{ key: expect.any(String), verdict: null }]);
  // Believed: no other process is asked, or it would say so.
  const [{ key }] = kept();
  const refusal = { code: 'BPEFT_DEVICE', message: 'cuda:0: kept', hint: null };
  writeFileSync(file, JSON.stringify([{ key, verdict: refusal }]));
  expect((await load('auto', usable)).found).toEqual({ device: 'cpu', noGpu: 'cuda:0: kept' });
  expect((await load('cuda', usable)).found.device).toBe('cuda:0');
  expect(kept()).toEqual([{ key, verdict: null }]);
  const other = await load('auto', { ...usable, CUDA_EMU_DEVICES: '0' });
  expect(other.found.noGpu).toContain('CUDA_ERROR_NO_DEVICE');
  expect(kept()).toHaveLength(2);
});

it('asks anew where its file is damaged, or cannot be written', async () => {
  const cache = home();
  writeFileSync(join(cache, 'gpu-probes.json'), '[{"key":1},');
  expect((await load('auto', { BPEFT_HOME: cache })).found.device).toBe('cuda:0');
  const nowhere = join(cache, 'gpu-probes.json', 'below-a-file');
  expect((await load('auto', { BPEFT_HOME: nowhere })).found.device).toBe('cuda:0');
  expect(existsSync(nowhere)).toBe(false);
});

it('leaves a full memory to who needs it', async () => {
  const full = { BPEFT_HOME: home(), CUDA_EMU_MEMORY: '64', CUDA_EMU_TAKEN: '64' };
  const { found } = await load('cuda', full);
  expect(found.code).toBe('BPEFT_OUT_OF_MEMORY');
});
