// Compilers of CUDA without a GPU or a system toolkit, from NVIDIA's Python wheels, once, into
// .cache: nvcc of CUDA 13; for CUDA 12, whose wheels have none, NVRTC and nvFatbin
// (cuda-nvrtc.py). Their versions and SHA-256 are in cuda-wheels. An installed toolkit will do for
// either.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readText, root, run } from './steps.mjs';

const LISTS = join(root, 'tools/cuda-wheels');
const NVRTC = join(root, 'tools/cuda-nvrtc.py');

/** The wheels' folder; installed whole, then renamed, so that it is never half there. */
function wheels(cuda) {
  const list = join(LISTS, `${cuda}.txt`);
  if (!existsSync(list)) {
    const known = readdirSync(LISTS).map((name) => basename(name, '.txt'));
    throw new Error(`--cuda must be one of ${known.sort().join(', ')}, or have a --toolkit`);
  }
  const version = createHash('sha256').update(readText(list)).digest('hex').slice(0, 8);
  const folder = join(root, '.cache/cuda', `toolkit-${cuda}-${version}`);
  if (!existsSync(folder)) {
    const part = `${folder}.part`;
    rmSync(part, { recursive: true, force: true });
    const from = ['--no-deps', '--require-hashes', '-r', list];
    if (!run('python3', ['-m', 'pip', 'install', '-q', '--target', part, ...from]).ok)
      throw new Error(`the compiler of CUDA ${cuda} could not be installed: see above`);
    renameSync(part, folder);
  }
  return folder;
}

function nvcc(cuda, home, architectures) {
  const program = join(home, 'bin/nvcc');
  const { ok, stdout } = run(program, ['--version'], { capture: true, isSilent: true });
  if (!ok) throw new Error('nvcc does not run: see above');
  const version = /release [\d.]+, V([\d.]+)/.exec(stdout)?.[1] ?? cuda;
  if (!version.startsWith(`${cuda}.`)) throw new Error(`this nvcc is ${version}, not ${cuda}`);
  const targets = architectures.map((arch) => `arch=compute_${arch},code=sm_${arch}`);
  const ptx = `arch=compute_${architectures[0]},code=compute_${architectures[0]}`;
  const flags = [
    ...['-std=c++17', '-O3', '-fatbin', '-I', join(home, 'include')],
    ...[...targets, ptx].flatMap((target) => ['-gencode', target]),
  ];
  const compile = (source, target) => run(program, [...flags, source, '-o', target]).ok;
  return { name: 'nvcc', version, key: [stdout, ...flags], compile };
}

function nvrtc(cuda, home, architectures) {
  const list = readdirSync(home).find((name) => /^nvidia_cuda_nvrtc.*\.dist-info$/.test(name));
  const version = /-([\d.]+)\.dist-info$/.exec(list ?? '')?.[1] ?? cuda;
  const compile = (source, target) =>
    run('python3', [NVRTC, home, source, target, architectures.join()]).ok;
  return {
    name: 'NVRTC',
    version,
    key: [version, String(architectures), readText(NVRTC)],
    compile,
  };
}

/**
 * @param toolkit an installed one in place of the wheels
 * @returns name, version, a key of all that decides its binaries but their sources, and `compile`,
 * which writes the fat binary of a file
 */
export function compilerOf(cuda, toolkit, architectures) {
  if (toolkit !== undefined) return nvcc(cuda, toolkit, architectures);
  const home = wheels(cuda);
  if (cuda.startsWith('12.')) return nvrtc(cuda, home, architectures);
  return nvcc(cuda, join(home, 'nvidia', `cu${cuda.split('.')[0]}`), architectures);
}
