// The package of the engine for GPUs: addon and kernels in its folder, packed with bpeft itself,
// installed in an empty folder and tried there; on an emulated GPU as well, whose driver reads the
// same binaries.

import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildForEngine } from './cuda-emulator/build.mjs';
import { doctor, installed, packed } from './packing.mjs';
import { buildNative, root } from './steps.mjs';

/** Builds the package of a CUDA version around its kernels. @returns whether all of it worked */
export async function packAndTry(cuda, kernels) {
  const name = `cuda${cuda.split('.')[0]}-linux-x64-gnu`;
  const folder = join(root, 'npm', name);
  const types = join(root, '.cache/cuda/addon.d.ts');
  if (buildNative({ features: ['cuda'], output: folder, types }) === null) return false;
  rmSync(join(folder, 'kernels'), { recursive: true, force: true });
  mkdirSync(join(folder, 'kernels'));
  for (const file of readdirSync(kernels).filter((one) => /\.(fatbin|json)$/.test(one))) {
    cpSync(join(kernels, file), join(folder, 'kernels', file));
  }
  const folders = [root, join(root, 'npm/linux-x64-gnu'), folder];
  const tarballs = packed(folders, join(root, '.cache/cuda/packages'));
  if (tarballs === null) return false;
  const { LD_LIBRARY_PATH, CUDA_EMU_KERNELS } = await buildForEngine();
  const works = await installed(tarballs, [], (user) => {
    const here = doctor(user);
    const emulated = doctor(user, { extraEnv: { LD_LIBRARY_PATH, CUDA_EMU_KERNELS } });
    const gpus = emulated?.gpu?.gpus ?? [];
    process.stdout.write(`without the emulator: ${here?.gpu?.problem?.message ?? 'a GPU'}\n`);
    process.stdout.write(
      `on the emulator: ${gpus.map(({ device, problem }) => problem?.message ?? device)}\n`,
    );
    const isOwn = here?.engine.file.includes(`node_modules/@bpeft/${name}/`) === true;
    const passed = emulated?.self_tests.map((test) => test.passed && test.device);
    return isOwn && here.self_tests.every((test) => test.passed) && passed?.join() === 'cpu,cuda:0';
  });
  return works === true;
}
