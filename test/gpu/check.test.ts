/** What cmd/gpu-check.sh does where a GPU is, from its bundle on, on the emulated driver. */

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { type EmulatedGpu, emulatedGpu } from '../support/emulated-gpu.ts';

const root = join(import.meta.dirname, '../..');
let gpu: EmulatedGpu;
let folder: string;

beforeAll(() => {
  gpu = emulatedGpu();
  folder = mkdtempSync(join(tmpdir(), 'bpeft-gpu-check-'));
  const pack = [join(root, 'tools/gpu-check/pack.mjs'), '--emulated', '--out', folder];
  const { status, stderr } = spawnSync(process.execPath, pack, { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
});

/** Programs that stand for those of a machine. */
function machine(programs: Readonly<Record<string, string>>): string {
  const path = mkdtempSync(join(folder, 'path-'));
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(path, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(path, name), 0o755);
  }
  return path;
}

const PEER = { train_step_s: 0.5, predict_s: 2, mfu: 0.1, peak_gpu_mb: 100, gemm_tflops: 700 };

function check(programs: Readonly<Record<string, string>>, ...flags: readonly string[]) {
  const out = join(folder, 'out');
  mkdirSync(out, { recursive: true });
  const { BPEFT_CUDA_KERNELS: _, BPEFT_NATIVE_PATH: __, ...emulated } = gpu;
  const command = [join(root, 'cmd/gpu-check.sh'), join(folder, 'gpu-check'), out];
  const { status, stdout, stderr } = spawnSync('bash', [...command, '--plan', 'small', ...flags], {
    encoding: 'utf8',
    env: {
      ...process.env,
      ...emulated,
      BPEFT_HOME: folder,
      PATH: `${machine(programs)}:${process.env.PATH}`,
      PYTHON: 'a-python',
    },
  });
  const results = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8'));
  return {
    status,
    said: stdout + stderr,
    ...results,
    page: readFileSync(join(out, 'results.md'), 'utf8'),
  };
}

it('checks, measures, and records what the machine refuses', () => {
  const found = check({
    'compute-sanitizer': 'echo "Device not supported"; exit 1',
    'a-python': `echo 'a warning' >&2; echo '${JSON.stringify({ shape: 'tiny', ...PEER })}'`,
  });
  expect(found.status, found.said).toBe(0);
  const { parts } = found;
  expect(found.gpu).toBe('Emulated device 0');
  expect(parts.doctor.passed).toBe(true);
  for (const name of ['kernels', 'engine']) {
    expect(parts[name].rows.length).toBeGreaterThan(4);
    for (const row of parts[name].rows) expect(row).toMatchObject({ failed: 0 });
  }
  expect(parts.engine.rows.map(({ program }: { program: string }) => program)).toContain(
    'operations',
  );
  expect(parts.parity).toMatchObject({
    passed: true,
    bytes_kept: 0,
    precisions: { f32: { same_bits: true }, bf16: { same_bits: true } },
  });
  expect(parts.sanitizer).toMatchObject({
    passed: true,
    rows: [{ tool: 'memcheck', notRun: 'Device not supported' }],
  });
  const ours = parts['bpeft tiny'].rows;
  const of = (what: string) => ours.find((row: { what: string }) => row.what === what);
  expect(of('step')).toMatchObject({ gpu: 'Emulated device 0', batch: 2, tokens: 6 });
  expect(of('step').step_s).toBeGreaterThan(0);
  expect(of('step').peak_bytes).toBeGreaterThan(1e5);
  expect(of('samples').samples_s).toBeGreaterThan(0);
  expect(of('step by graphs').step_s).toBeGreaterThan(0);
  expect(of('samples by graphs').samples_s).toBeGreaterThan(0);
  const names = of('profile').kernels.map(({ name }: { name: string }) => name);
  expect(names).toEqual(
    expect.arrayContaining(['attention_64_rounded', 'product', 'copy to the host']),
  );
  expect(of('profile').busy_s).toBeLessThan(of('profile').wall_s);
  expect(found.page).toContain('# bpeft on Emulated device 0');
  expect(found.page).toMatch(/\| tiny, 2 × 6 \| [\d.e+]+ ms \| 500 ms \| /);
  expect(found.page).toMatch(/\| `attention_64_rounded` \| \d+ \| [\d.]+ ms \| [\d.]+ % \|/);
  expect(found.page).toContain('| memcheck | norm | not run: Device not supported |');
});

it('records what PyTorch has no memory for, goes on, and fails where something is wrong', () => {
  const found = check(
    {
      'compute-sanitizer': 'echo "========= ERROR SUMMARY: 1 error"; exit 9',
      'a-python':
        'echo "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 8 GiB" >&2; exit 1',
    },
    '--skip',
    'kernels,engine,parity',
  );
  expect(found.status).toBe(1);
  expect(found.parts['PyTorch tiny 2 × 6']).toMatchObject({
    gpu: 'Emulated device 0',
    out_of_memory: expect.stringContaining('8 GiB'),
  });
  expect(found.parts.sanitizer.rows).toMatchObject([{ fault: expect.stringContaining('1 error') }]);
  expect(found.page).toMatch(/\| tiny, 2 × 6 \| [\d.e+]+ ms \| out of memory \|/);
  expect(found.page).toContain('| sanitizer | failed |');
});
