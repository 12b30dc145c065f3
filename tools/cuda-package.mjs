// The package of the engine for GPUs: addon and kernels in its folder, packed with bpeft itself,
// installed in an empty folder and tried there; on an emulated GPU as well, whose driver reads the
// same binaries.

import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildForEngine } from './cuda-emulator/build.mjs';
import { buildNative, root, run } from './steps.mjs';

/** Builds the package of a CUDA version around its kernels. @returns whether all of it worked */
export async function packAndTry(cuda, kernels) {
  const folder = join(root, `npm/cuda${cuda.split('.')[0]}-linux-x64-gnu`);
  const types = join(root, '.cache/cuda/addon.d.ts');
  if (buildNative({ features: ['cuda'], output: folder, types }) === null) return false;
  rmSync(join(folder, 'kernels'), { recursive: true, force: true });
  mkdirSync(join(folder, 'kernels'));
  for (const name of readdirSync(kernels).filter((file) => /\.(fatbin|json)$/.test(file))) {
    cpSync(join(kernels, name), join(folder, 'kernels', name));
  }
  const packed = join(root, '.cache/cuda/packages');
  rmSync(packed, { recursive: true, force: true });
  mkdirSync(packed, { recursive: true });
  for (const source of [root, join(root, 'npm/linux-x64-gnu'), folder]) {
    const pack = ['pack', '--silent', '--pack-destination', packed];
    if (!run('npm', [...pack, source], { stdio: ['ignore', 2, 2] }).ok) return false;
  }
  const tarballs = readdirSync(packed).map((name) => join(packed, name));
  for (const path of tarballs)
    process.stdout.write(`${path} ${(statSync(path).size / 1e6).toFixed(1)} MB\n`);
  return tried(tarballs);
}

async function tried(tarballs) {
  const user = mkdtempSync(join(tmpdir(), 'bpeft-cuda-'));
  try {
    writeFileSync(join(user, 'package.json'), '{"name":"user","private":true}');
    const install = [
      'install',
      '--prefix',
      user,
      '--no-audit',
      '--no-fund',
      '--silent',
      ...tarballs,
    ];
    if (!run('npm', install, { stdio: ['ignore', 2, 2] }).ok) return false;
    const here = doctor(user, {});
    const { LD_LIBRARY_PATH, CUDA_EMU_KERNELS } = await buildForEngine();
    const emulated = doctor(user, { LD_LIBRARY_PATH, CUDA_EMU_KERNELS });
    const gpus = emulated?.gpu?.gpus ?? [];
    process.stdout.write(`without the emulator: ${here?.gpu?.problem?.message ?? 'a GPU'}\n`);
    process.stdout.write(
      `on the emulator: ${gpus.map(({ device, problem }) => problem?.message ?? device)}\n`,
    );
    const isOwn = /node_modules\/@bpeft\/cuda\d+-linux-x64-gnu\//.test(here?.engine.file ?? '');
    const passed = emulated?.self_tests.map((test) => test.passed && test.device);
    return isOwn && here.self_tests.every((test) => test.passed) && passed?.join() === 'cpu,cuda:0';
  } finally {
    rmSync(user, { recursive: true, force: true });
  }
}

function doctor(user, extraEnv) {
  const program = join(user, 'node_modules/bpeft/dist/cli/main.js');
  const { stdout } = run(process.execPath, [program, 'doctor', '--json'], {
    capture: true,
    isSilent: true,
    extraEnv: { BPEFT_CUDA_KERNELS: '', BPEFT_NATIVE_PATH: '', ...extraEnv },
  });
  return stdout === '' ? null : JSON.parse(stdout);
}
