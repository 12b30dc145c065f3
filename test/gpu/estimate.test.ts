/** `bpeft estimate` against what the emulated driver was asked for; nothing is computed in full. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { parseSettings } from '../../ts/config/parse.ts';
import { resolveTrain } from '../../ts/config/resolve.ts';
import { CONTEXT, gpuTraining, MEMORY_BAND } from '../../ts/estimate/memory.ts';
import { shapeNamed } from '../../ts/estimate/shape.ts';
import { workOf } from '../../ts/estimate/work.ts';
import { type EmulatedGpu, emulatedGpu } from '../support/emulated-gpu.ts';
import { runNode } from '../support/node-process.ts';

const [layers, rows] = [3, 4];
const root = join(import.meta.dirname, '../..');
let gpu: EmulatedGpu;
let model: string;

beforeAll(() => {
  gpu = emulatedGpu();
  model = join(mkdtempSync(join(tmpdir(), 'bpeft-estimate-')), 'model.gguf');
  const of = ['135m', model, '--layers', String(layers), '--type', 'bf16'];
  expect(spawnSync(process.execPath, [join(root, 'bench/random-model.mjs'), ...of]).status).toBe(0);
});

/** Most bytes of an update of MLE on q, v and the head. */
async function allocated(tokens: number): Promise<number> {
  const script = `
const model = await bpeft.loadModel({ model: ${JSON.stringify(model)}, precision: 'bf16', device: 'cuda' });
const adapter = await model.createAdapter({ ...shape, rank: 8, posterior: null });
const trainer = await bpeft.Trainer.create(model, adapter, run);
await trainer.step([batchOf(${rows}, ${tokens})]).catch(() => {});
console.log(model.peakGpuBytes());`;
  const env = { ...gpu, CUDA_EMU_BLOCKS: '1' };
  return Number((await runNode(script, { env })).stdout);
}

it.each([32, 600])('holds for the memory of an update of %i tokens a prompt', async (tokens) => {
  const targetModules = ['q_proj', 'v_proj', 'lm_head'];
  const values = { model, dataset: 'x', method: 'mle', precision: 'bf16', targetModules };
  const config = resolveTrain(parseSettings('train', [{ origin: 'option', values }]));
  const shape = { ...shapeNamed('smollm2-135m'), numLayers: layers };
  const { total } = gpuTraining(workOf(config, shape, { tokens, weightBytes: null, threads: 1 }));
  const share = (await allocated(tokens)) / (total.expected - CONTEXT); // it has no context
  expect(share).toBeGreaterThan(MEMORY_BAND.low);
  expect(share).toBeLessThan(MEMORY_BAND.high);
});
