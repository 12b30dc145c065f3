import { beforeAll, expect, it } from 'vitest';
import { BpeftProcess } from '../support/bpeft-process.ts';
import { type EmulatedGpu, emulatedGpu } from '../support/emulated-gpu.ts';

let gpu: EmulatedGpu;

beforeAll(() => {
  gpu = emulatedGpu();
});

async function doctor(variables: Readonly<Record<string, string>> = {}) {
  const environment = { ...gpu, ...variables };
  const { code, stdout } = await new BpeftProcess(['doctor', '--json'], { environment }).finished;
  return { code, found: JSON.parse(stdout) };
}

it('finds driver, cuBLAS and GPUs, and tests each of them', async () => {
  const { code, found } = await doctor({ CUDA_EMU_DEVICES: '2', CUDA_EMU_TAKEN: '48' });
  expect(code).toBe(0);
  expect(found.engine).toMatchObject({
    file: gpu.BPEFT_NATIVE_PATH,
    why: 'named by BPEFT_NATIVE_PATH',
    cuda: true,
  });
  expect(found.device).toBe('cuda:0');
  const name = (file: string) => expect.stringMatching(new RegExp(`${file}[^/]*$`));
  expect(found.gpu).toMatchObject({
    driver: '13.0',
    driver_file: name('libcuda'),
    cublas_file: name('libcublas'),
    nccl_file: name('libnccl'),
    problem: null,
  });
  expect(found.gpu.gpus).toEqual(
    [0, 1].map((ordinal) => ({
      device: `cuda:${ordinal}`,
      name: `Emulated device ${ordinal}`,
      capability: '8.0',
      memory_bytes: 2 ** 31,
      free_bytes: expect.toSatisfy(
        (bytes: number) => bytes <= 2 ** 31 - 48 * 2 ** 20 && bytes > 2 ** 30,
      ),
      problem: null,
    })),
  );
  expect(found.self_tests).toEqual(
    ['cpu', 'cuda:0', 'cuda:1'].map((device) => expect.objectContaining({ device, passed: true })),
  );
});

it('says what keeps a GPU from being used, and tests the CPU', async () => {
  const old = await doctor({ CUDA_EMU_ARCH: '75' });
  expect(old.code).toBe(0);
  expect(old.found.device).toBe('cpu');
  const problem = {
    message: expect.stringContaining('CUDA_ERROR_NO_BINARY_FOR_GPU'),
    hint: expect.stringContaining('sm_80'),
  };
  expect(old.found.gpu.gpus).toMatchObject([{ device: 'cuda:0', capability: '7.5', problem }]);
  expect(old.found.self_tests).toHaveLength(1);
  const none = await doctor({ LD_LIBRARY_PATH: '' });
  expect(none.found.gpu).toMatchObject({
    driver: null,
    gpus: [],
    problem: {
      message: 'cuda:0: there is no libcuda.so.1',
      hint: expect.stringContaining('NVIDIA'),
    },
  });
});

it('fails with the report when a device computes otherwise', async () => {
  const { code, found } = await doctor({ CUDA_EMU_LOST_AT: '100' });
  expect(code).toBe(1);
  expect(found.self_tests).toMatchObject([
    { device: 'cpu', passed: true },
    { device: 'cuda:0', passed: false, message: expect.stringContaining('CUDA_ERROR_UNKNOWN') },
  ]);
});
