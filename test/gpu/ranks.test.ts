import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { BpeftProcess } from '../support/bpeft-process.ts';
import { type EmulatedGpu, emulatedGpu, shortRows } from '../support/emulated-gpu.ts';
import { ended, launched } from '../support/launched.ts';

let gpu: EmulatedGpu;
let folder: string;
let settings: readonly string[];

const STEPS = 4;

beforeAll(() => {
  gpu = emulatedGpu();
  folder = mkdtempSync(join(tmpdir(), 'bpeft-nccl-'));
  for (const split of ['train', 'validation'])
    writeFileSync(join(folder, `${split}.jsonl`), shortRows());
  settings = [
    '--model',
    'builtin:random',
    '--dataset',
    folder,
    '--lr',
    '0.01',
    '--rank',
    '2',
  ].concat(['--max-steps', String(STEPS), '--eval-samples', '2', '--eval-limit', '2']);
});

function losses(run: string): number[] {
  const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as { type: string; nll: number; kl: number });
  return events.filter(({ type }) => type === 'step').flatMap(({ nll, kl }) => [nll, kl]);
}

const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'));

it('sums gradients by NCCL, and trains as one process on the CPU', async () => {
  const [alone, together] = [join(folder, 'alone'), join(folder, 'together')];
  const args = ['train', ...settings, '--batch-size', '2', '--out', together];
  const one = ['train', ...settings, '--batch-size', '4', '--out', alone, '--device', 'cpu'];
  expect(await new BpeftProcess(one).finished).toMatchObject({ code: 0 });
  const environment = { ...gpu, CUDA_EMU_DEVICES: '2' };
  const ranks = await launched([args, args], environment);
  expect(await ended(ranks)).toMatchObject([{ code: 0 }, { code: 0 }]);
  expect(losses(together)).toHaveLength(2 * STEPS);
  expect(losses(together)).toEqual(losses(alone).map((value) => expect.closeTo(value, 3)));
  expect(json(together, 'config.json')).toMatchObject({
    hardware: { device: 'cuda:0' },
    ranks: { size: 2, rows_per_update: 4, summed_by: 'nccl' },
  });
});

it('ends when a rank is killed in the middle, and keeps what rank 0 has', async () => {
  const out = join(folder, 'killed');
  const args = ['train', ...settings, '--batch-size', '2', '--out', out, '--max-steps', '400'];
  const ranks = await launched([args, args], { ...gpu, CUDA_EMU_DEVICES: '2' });
  await ranks[0]?.seen('step 1/400');
  ranks[1]?.kill('SIGKILL');
  const first = await ranks[0]?.finished;
  expect(first?.code).toBe(1);
  expect(first?.stderr).toMatch(/BPEFT_(RANK_LOST|DEVICE)/);
});
