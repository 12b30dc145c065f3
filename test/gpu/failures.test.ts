/**
 * A GPU that fails in the middle: what was saved is kept, all of it where memory is full, and the
 * process goes on with the CPU.
 */

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { BpeftProcess } from '../support/bpeft-process.ts';
import { type EmulatedGpu, emulatedGpu, shortRows } from '../support/emulated-gpu.ts';
import { runNode } from '../support/node-process.ts';

let gpu: EmulatedGpu;
let folder: string;

beforeAll(() => {
  gpu = emulatedGpu();
  folder = mkdtempSync(join(tmpdir(), 'bpeft-gpu-'));
  writeFileSync(join(folder, 'train.jsonl'), shortRows());
});

/**
 * Trains on the GPU until it fails, goes on with the CPU in the same process, and trains all on the
 * CPU.
 */
const script = (out: string, more: string) => `
const { train } = await import(dist + 'index.js');
const options = { model: 'builtin:random', dataset: ${JSON.stringify(folder)}, batchSize: 2, maxSteps: 3, rank: 2, lr: 0.01, evalSamples: [1], ${more} };
const losses = [];
const hear = (of) => ({ onEvent: (event) => { if (event.type === 'step') of.push(event.nll); } });
const error = await train({ ...options, out: ${JSON.stringify(out)}, device: 'cuda' }, hear(losses)).catch((error) => error);
const before = losses.length;
const again = await bpeft.loadModel({ model: 'builtin:random', device: 'cuda' }).then(() => null, ({ code }) => code);
await train({ out: ${JSON.stringify(out)}, resume: true, device: 'cpu' }, hear(losses));
const expected = [];
await train({ ...options, out: ${JSON.stringify(`${out}-cpu`)}, device: 'cpu' }, hear(expected));
const { code, message, hint } = error;
console.log(JSON.stringify({ code, message, hint, before, again, losses, expected }));
`;

async function outcome(variables: Readonly<Record<string, string>>, more = '') {
  const out = join(mkdtempSync(join(folder, 'run-')), 'run');
  const env = { ...gpu, ...variables };
  const { code, stdout, stderr } = await runNode(script(out, more), { env });
  expect([code, stderr.replace(/cuda-emu: .*\n/g, '')]).toEqual([0, '']);
  const { losses, expected, ...rest } = JSON.parse(stdout);
  expect(expected).toHaveLength(3);
  // What is not kept is trained again.
  expect(losses.slice(-3)).toEqual(expected.map((loss: number) => expect.closeTo(loss, 3)));
  return { ...rest, trainedTwice: losses.length - 3 };
}

it('keeps the last checkpoint when the GPU is lost in the middle of an update', async () => {
  const lost = await outcome({ CUDA_EMU_LOST_AT: '200' }, 'checkpointEvery: 1');
  expect(lost).toMatchObject({
    code: 'BPEFT_DEVICE',
    message: expect.stringMatching(
      /^cuda:0: the driver reported CUDA_ERROR_UNKNOWN \(the state after step \d is kept\)$/,
    ),
    hint: expect.stringMatching(/start again.*--device cpu|device/),
    again: 'BPEFT_DEVICE',
  });
  expect(lost.message).toContain(`step ${lost.before} is`);
  expect(lost.before).toBeGreaterThan(0);
  expect(lost.trainedTwice).toBe(0);
});

it('says that a lost GPU took everything where nothing was saved', async () => {
  const lost = await outcome({ CUDA_EMU_LOST_AT: '200' });
  expect(lost.trainedTwice).toBe(lost.before);
  expect(lost).toMatchObject({
    code: 'BPEFT_DEVICE',
    message: expect.stringMatching(/CUDA_ERROR_UNKNOWN \(nothing was saved before\)$/),
    hint: expect.stringContaining('checkpointEvery keeps'),
  });
});

it('says how much memory there was when it is full, and keeps the state', async () => {
  const full = await outcome({ CUDA_EMU_MEMORY: '1' });
  expect(full).toMatchObject({
    code: 'BPEFT_OUT_OF_MEMORY',
    message: expect.stringMatching(
      /^cuda:0: the memory is full: \d+ MiB were asked for, \d+ of 1 MiB were free/,
    ),
    hint: expect.stringMatching(
      /^by estimate 1\.0 MB hold no batch of this model.*smaller batchSize/,
    ),
    again: null,
    trainedTwice: 0,
  });
});

it('computes samples in parts where all of them do not fit at once', async () => {
  const script = (device: string) => `
const model = await bpeft.loadModel({ model: 'builtin:random', device: '${device}' });
const adapter = await model.createAdapter(shape);
const asked = { samples: 32, noise: 'token', seed: 1, stochasticLayers: null };
const logits = await adapter.predict(batchOf(2, 8), asked);
console.log(JSON.stringify({ logits: [...logits], peak: model.peakGpuBytes() }));`;
  const of = async (device: string, memory: string) => {
    const { stdout } = await runNode(script(device), { env: { ...gpu, CUDA_EMU_MEMORY: memory } });
    return JSON.parse(stdout) as { logits: readonly number[]; peak: number };
  };
  const [cpu, large, small] = [
    await of('cpu', '64'),
    await of('cuda', '64'),
    await of('cuda', '1'),
  ];
  expect(large.peak).toBeGreaterThan(2 ** 20);
  expect(small.peak).toBeLessThanOrEqual(2 ** 20);
  for (const { logits } of [large, small])
    expect(logits).toEqual(cpu.logits.map((logit) => expect.closeTo(logit, 3)));
});

it('names the arithmetic in which weights would fit', async () => {
  const args = ['train', '--model', 'builtin:tiny', '--dataset', folder, '--device', 'cuda'];
  const { stdout } = await new BpeftProcess(
    [...args, '--json', '--out', join(mkdtempSync(join(folder, 'run-')), 'run')],
    { environment: { ...gpu, CUDA_EMU_MEMORY: '64', CUDA_EMU_TAKEN: '60' } },
  ).finished;
  expect(JSON.parse(stdout).error).toMatchObject({
    code: 'BPEFT_OUT_OF_MEMORY',
    hint: expect.stringMatching(
      /^the weights need [\d.]+ MB by estimate, [\d.]+ MB are free; .*--quantize nf4 needs [\d.]+ MB; /,
    ),
  });
});

it('says at loading that another process has the memory', async () => {
  const { stdout } = await runNode(
    `const error = await bpeft.loadModel({ model: 'builtin:tiny', device: 'cuda' }).catch((error) => error);
     const { info } = await bpeft.loadModel({ model: 'builtin:tiny', device: 'cpu' });
     console.log(JSON.stringify([error.code, error.message, error.hint, info.device]));`,
    { env: { ...gpu, CUDA_EMU_MEMORY: '64', CUDA_EMU_TAKEN: '63' } },
  );
  const [code, message, hint, device] = JSON.parse(stdout);
  expect(code).toBe('BPEFT_OUT_OF_MEMORY');
  expect(message).toMatch(/of 64 MiB were free$/);
  expect(hint).toContain('nvidia-smi');
  expect(device).toBe('cpu');
});
