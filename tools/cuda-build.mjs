// npm run build:cuda -- [--cuda 13.0] [--toolkit FOLDER] [--out FOLDER] [--package]: compiles the
// CUDA kernels, one fat binary a file: sm_80, sm_90, sm_100 and PTX for what comes later. No GPU and
// no system toolkit: the compiler comes as NVIDIA's Python wheels, once, into .cache. Those of CUDA
// 12 have no nvcc: there --toolkit names an installed one. What was made is listed with its SHA-256.
// --package: then the engine for GPUs around them, packed, installed in an empty folder and tried.

import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { root, run } from './steps.mjs';

const WHEELS = [
  'nvidia-cuda-nvcc',
  'nvidia-cuda-crt',
  'nvidia-nvvm',
  'nvidia-cuda-runtime',
  'nvidia-cuda-cccl',
];
const ARCHITECTURES = [80, 90, 100];
const KERNELS = join(root, 'crates/blob-core/src/kernels/cuda');

const { values } = parseArgs({
  options: {
    cuda: { type: 'string', default: '13.0' },
    toolkit: { type: 'string' },
    out: { type: 'string' },
    package: { type: 'boolean' },
  },
});
if (!/^\d+\.\d+$/.test(values.cuda)) fail(`--cuda must be MAJOR.MINOR, got ${values.cuda}`);
const out = values.out ?? join(root, '.cache/cuda', `fatbin-${values.cuda}`);

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/**
 * The wheels' folder with nvcc in it; installed whole, then renamed, so that it is never half
 * there.
 */
function toolkit() {
  if (values.toolkit !== undefined) return values.toolkit;
  const folder = join(root, '.cache/cuda', `toolkit-${values.cuda}`);
  if (!existsSync(folder)) {
    const part = `${folder}.part`;
    rmSync(part, { recursive: true, force: true });
    const pinned = WHEELS.map((name) => `${name}==${values.cuda}.*`);
    const args = ['-m', 'pip', 'install', '-q', '--no-deps', '--target', part, ...pinned];
    if (!run('python3', args).ok)
      fail(`the compiler of CUDA ${values.cuda} could not be installed: see above`);
    renameSync(part, folder);
  }
  return join(folder, 'nvidia', `cu${values.cuda.split('.')[0]}`);
}

function sha256(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** Everything that decides a binary: sources, headers, compiler and flags. */
function keyOf(source, flags, version) {
  const hash = createHash('sha256').update(version).update(flags.join('\0'));
  const headers = readdirSync(KERNELS).filter((name) => name.endsWith('.cuh'));
  for (const name of [basename(source), ...headers.sort()])
    hash.update(readFileSync(join(KERNELS, name)));
  return hash.digest('hex');
}

const home = toolkit();
const nvcc = join(home, 'bin/nvcc');
const { ok, stdout: version } = run(nvcc, ['--version'], { capture: true, isSilent: true });
if (!ok) fail('nvcc does not run: see above');
const compiler = /release [\d.]+, V([\d.]+)/.exec(version)?.[1] ?? values.cuda;
if (!compiler.startsWith(`${values.cuda}.`)) fail(`this nvcc is ${compiler}, not ${values.cuda}`);
const targets = ARCHITECTURES.map((arch) => `arch=compute_${arch},code=sm_${arch}`);
const flags = [
  ...['-std=c++17', '-O3', '-fatbin', '-I', join(home, 'include')],
  ...[...targets, 'arch=compute_80,code=compute_80'].flatMap((target) => ['-gencode', target]),
];
mkdirSync(out, { recursive: true });

const made = [];
for (const name of readdirSync(KERNELS).filter((file) => file.endsWith('.cu'))) {
  const source = join(KERNELS, name);
  const stem = basename(name, '.cu');
  const kept = join(
    root,
    '.cache/cuda',
    `${stem}.${keyOf(source, flags, version).slice(0, 16)}.fatbin`,
  );
  const began = Date.now();
  if (!existsSync(kept)) {
    if (!run(nvcc, [...flags, source, '-o', `${kept}.part`]).ok)
      fail(`${name} does not compile: see above`);
    renameSync(`${kept}.part`, kept);
  }
  const target = join(out, `${stem}.fatbin`);
  cpSync(kept, target);
  const row = { file: `${stem}.fatbin`, bytes: statSync(target).size, sha256: sha256(target) };
  made.push(row);
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  process.stdout.write(
    `${row.file.padEnd(20)} ${String(row.bytes).padStart(9)} bytes ${seconds} s\n`,
  );
}
const list = { cuda: values.cuda, compiler, architectures: ARCHITECTURES, ptx: 80, files: made };
writeFileSync(join(out, 'kernels.json'), `${JSON.stringify(list, null, 2)}\n`);
process.stdout.write(`nvcc ${compiler}; listed in ${join(out, 'kernels.json')}\n`);
if (values.package === true) {
  const { packAndTry } = await import('./cuda-package.mjs');
  if (!(await packAndTry(values.cuda, out))) fail('the package does not work: see above');
}
