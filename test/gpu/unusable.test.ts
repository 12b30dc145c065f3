/** What a machine may lack for a GPU: `--device cuda` says it, `auto` goes on with the CPU. */

import { mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { BpeftProcess } from '../support/bpeft-process.ts';
import { type EmulatedGpu, emulatedGpu, shortRows } from '../support/emulated-gpu.ts';

let gpu: EmulatedGpu;
let folder: string;

beforeAll(() => {
  gpu = emulatedGpu();
  folder = mkdtempSync(join(tmpdir(), 'bpeft-gpu-'));
  writeFileSync(join(folder, 'train.jsonl'), shortRows());
  const [host = ''] = gpu.LD_LIBRARY_PATH.split(delimiter);
  symlinkSync(join(host, 'libcuda.so.1'), join(folder, 'libcuda.so.1'));
  writeFileSync(join(folder, 'affine.fatbin'), 'a web page, perhaps');
});

type Variables = Readonly<Record<string, string>>;

const LACKS: readonly (readonly [string, (gpu: EmulatedGpu) => Variables, RegExp, string])[] = [
  ['a driver', () => ({ LD_LIBRARY_PATH: '' }), /^cuda:0: there is no libcuda\.so\.1$/, 'NVIDIA'],
  [
    'a driver that is new enough',
    () => ({ CUDA_EMU_DRIVER: '11080' }),
    /the driver must support CUDA 12\.0, it supports 11\.8/,
    'newer NVIDIA driver',
  ],
  [
    'a driver that is new enough for its cuBLAS',
    () => ({ CUDA_EMU_DRIVER: '12080' }),
    /cuBLAS reported CUBLAS_STATUS_NOT_INITIALIZED/,
    '580 or later for CUDA 13',
  ],
  ['cuBLAS', () => ({ LD_LIBRARY_PATH: folder }), /there is no libcublas/, 'nvidia-cublas'],
  ['a GPU', () => ({ CUDA_EMU_DEVICES: '0' }), /CUDA_ERROR_NO_DEVICE/, 'CUDA_VISIBLE_DEVICES'],
  [
    'kernels for its architecture',
    () => ({ CUDA_EMU_ARCH: '75' }),
    /CUDA_ERROR_NO_BINARY_FOR_GPU/,
    'compiled for sm_80 and later',
  ],
  [
    'the folder of kernels',
    () => ({ BPEFT_CUDA_KERNELS: '/nowhere' }),
    /kernels must be fat binaries, \/nowhere\/affine\.fatbin: No such file/,
    'BPEFT_CUDA_KERNELS',
  ],
  [
    'kernels in their files',
    () => ({ BPEFT_CUDA_KERNELS: folder }),
    /affine\.fatbin: it is something else/,
    'install the package for CUDA again',
  ],
];

function train(device: string, variables: Variables) {
  const args = ['train', '--model', 'builtin:random', '--dataset', folder, '--max-steps', '1'];
  const out = join(mkdtempSync(join(folder, 'run-')), 'run');
  return new BpeftProcess([...args, '--out', out, '--device', device, '--json'], {
    environment: { ...gpu, ...variables },
  }).finished;
}

it.each(LACKS)('says that the machine lacks %s', async (_, variables, message, hint) => {
  const { code, stdout } = await train('cuda', variables(gpu));
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toEqual({
    error: {
      code: 'BPEFT_DEVICE',
      message: expect.stringMatching(message),
      hint: expect.stringContaining(hint),
    },
  });
  const { code: automatic, stderr } = await train('auto', variables(gpu));
  expect(stderr).toMatch(/no GPU can be used, and the CPU computes: cuda:0: /);
  expect(automatic).toBe(0);
});

it('says that the engine is built for the CPU alone', async () => {
  const { stdout } = await train('cuda', { BPEFT_NATIVE_PATH: '' });
  expect(JSON.parse(stdout).error).toMatchObject({
    code: 'BPEFT_DEVICE',
    message: 'cuda:0: this engine is built for the processor alone',
    hint: expect.stringContaining('@bpeft/cuda13-linux-x64-gnu'),
  });
});

it('names a GPU that is not there, and a device that is none', async () => {
  const { stdout } = await train('cuda:9', {});
  expect(JSON.parse(stdout).error).toMatchObject({
    code: 'BPEFT_DEVICE',
    message: 'cuda:9: the driver reported CUDA_ERROR_INVALID_DEVICE',
  });
  const { code, stdout: unknown } = await train('auto', { BPEFT_DEVICE: 'gpu' });
  expect([code, JSON.parse(unknown).error]).toEqual([
    2,
    {
      code: 'BPEFT_USAGE',
      message: 'BPEFT_DEVICE must be auto, cpu or cuda[:N], got "gpu"',
      hint: null,
    },
  ]);
});

it.each([
  ['0', 'without end'],
  ['1', 'as if there were none'],
  ['801', 'not supported'],
  ['999', 'unknown'],
])(
  'launches where a driver asked for the parameters of a kernel answers %s, %s',
  async (answer) => {
    const { stdout } = await new BpeftProcess(['doctor', '--json'], {
      environment: { ...gpu, CUDA_EMU_PARAMETERS: answer },
    }).finished;
    expect(JSON.parse(stdout).self_tests).toContainEqual(
      expect.objectContaining({ device: 'cuda:0', passed: true }),
    );
  },
);
