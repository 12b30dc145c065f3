// npm run pack:gpu-check [-- --emulated] [-- --out FOLDER]: everything that cmd/gpu-check.sh needs
// on a machine without cargo, npm or network, as gpu-check.tar.xz of at most 60 MB: Node, bpeft
// with its packages and the engine for GPUs, tests of engine and kernels, the peer, a profiler.
//
// --emulated: in place of nvcc's kernels what the emulated driver takes, and a folder in place of
// the archive. Everything else is the same.

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { commitOf } from '../../bench/machine.mjs';
import { build, buildForEngine } from '../cuda-emulator/build.mjs';
import { buildNative, root, run } from '../steps.mjs';

const MOST_BYTES = 60e6;
const CRATE = 'crates/blob-core';
const PACKAGE = '@bpeft/cuda13-linux-x64-gnu';
const CUDA = '13.0';
const TESTS = ['devices', 'parity', 'cuda', 'cuda_memory', 'cuda_traffic', 'cuda_graphs'];

const { values } = parseArgs({
  options: { emulated: { type: 'boolean', default: false }, out: { type: 'string' } },
});
const out = values.out ?? join(root, '.cache/gpu-check');
const bundle = join(out, 'gpu-check');

function must(outcome, what) {
  if (outcome === null || outcome === false || outcome?.ok === false) {
    process.stderr.write(`${what} failed: see above\n`);
    process.exit(1);
  }
  return outcome;
}

/** A copy without symbols that only debuggers read. */
function place(source, target) {
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(realpathSync(source), target);
  must(run('strip', ['--strip-unneeded', target]), `strip of ${target}`);
}

/** The packages that bpeft needs at run time, as they are installed in this checkout. */
function packages() {
  const list = ['ls', '--omit=dev', '--omit=optional', '--all', '--parseable'];
  const { stdout } = run('npm', list, { capture: true, isSilent: true });
  return stdout.split('\n').filter((path) => path.includes('/node_modules/'));
}

function placeBpeft(addon, kernels) {
  const modules = join(bundle, 'node_modules');
  for (const name of ['dist', 'assets', 'package.json'])
    cpSync(join(root, name), join(modules, 'bpeft', name), { recursive: true });
  for (const path of packages()) {
    const name = relative(join(root, 'node_modules'), path);
    const options = { recursive: true, dereference: true };
    if (!name.startsWith('@bpeft/')) cpSync(path, join(modules, name), options);
  }
  const own = join(modules, PACKAGE);
  place(addon, join(own, 'bpeft.linux-x64-gnu.node'));
  cpSync(join(root, 'npm', basename(PACKAGE), 'package.json'), join(own, 'package.json'));
  cpSync(kernels, join(own, 'kernels'), { recursive: true, dereference: true });
}

/**
 * Tests of operations and whole models, as programs. The addon is named beside the engine so that
 * what both depend on has the same features as in its build, and is not compiled again.
 */
function placeEngineTests() {
  const which = ['--lib', ...TESTS.flatMap((name) => ['--test', name])];
  const of = ['blob-core', 'napi-bindings'].flatMap((name) => ['--package', name]);
  const how = ['--features', 'cuda', '--locked', '--no-run', '--message-format=json'];
  const args = ['test', ...of, ...which, ...how];
  const { ok, stdout } = run('cargo', args, { capture: true, isSilent: true });
  must(ok, 'cargo test --no-run');
  for (const line of stdout.split('\n').filter((one) => one.startsWith('{'))) {
    const { executable, target, profile } = JSON.parse(line);
    if (typeof executable !== 'string' || !profile.test) continue;
    if (target.name === 'napi_bindings') continue;
    const name = target.kind.includes('lib') ? 'operations' : target.name;
    const program = join(bundle, 'engine', name);
    place(executable, program);
    const isOfCheckout = readFileSync(program).includes(root);
    must(!isOfCheckout, `${name} names files of this checkout, which are not there on a GPU: it`);
  }
  const goldens = join(root, CRATE, 'tests/goldens');
  for (const name of readdirSync(goldens).filter((file) => !/^(tokenizer|pairs)-/.test(file)))
    cpSync(join(goldens, name), join(bundle, CRATE, 'tests/goldens', name));
}

async function placeKernelTests() {
  const folder = join(root, 'test/cuda');
  const names = readdirSync(folder).filter((name) => name.endsWith('.cpp'));
  const programs = names.map((name) => join(folder, name));
  const { host } = await build('plain', { kernels: [], programs });
  for (const name of names) {
    const program = basename(name, '.cpp');
    place(join(host, program), join(bundle, 'programs', program));
  }
  cpSync(join(root, 'test/fixtures/cuda'), join(bundle, 'goldens'), { recursive: true });
}

/** Against NVIDIA's headers, where they are there, the layout that the profiler reads is held. */
function placeProfiler() {
  const source = join(root, 'tools/gpu-check/kernel_times.cpp');
  const flags = ['-std=c++20', '-O2', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared'];
  const target = join(bundle, 'kernel_times.so');
  const link = ['-static-libstdc++', '-static-libgcc', '-pthread', '-ldl'];
  must(run('g++', [...flags, source, '-o', target, ...link]), 'the profiler');
}

function checkLayout() {
  const folder = join(root, '.cache/cuda', `profiler-${CUDA}`);
  const wheels = ['nvidia-cuda-cupti', 'nvidia-cuda-runtime', 'nvidia-cuda-crt'];
  const pinned = wheels.map((name) => `${name}==${CUDA}.*`);
  if (!existsSync(folder)) {
    const args = ['-m', 'pip', 'install', '-q', '--no-deps', '--target', folder, ...pinned];
    must(run('python3', args), 'the headers of CUPTI');
  }
  const headers = ['-isystem', join(folder, 'nvidia/cu13/include')];
  const source = join(root, 'tools/gpu-check/layout.cpp');
  must(run('g++', ['-std=c++20', '-fsyntax-only', ...headers, source]), 'the layout of CUPTI');
}

rmSync(bundle, { recursive: true, force: true });
mkdirSync(bundle, { recursive: true });
let kernels;
if (values.emulated) {
  kernels = (await buildForEngine()).BPEFT_CUDA_KERNELS;
} else {
  must(run(process.execPath, ['tools/cuda-build.mjs', '--cuda', CUDA]), 'the kernels');
  kernels = join(root, '.cache/cuda', `fatbin-${CUDA}`);
  checkLayout();
}
const folder = join(root, '.cache/cuda/addon');
const types = join(folder, 'addon.d.ts');
placeBpeft(must(buildNative({ features: ['cuda'], output: folder, types }), 'the addon'), kernels);
placeEngineTests();
await placeKernelTests();
placeProfiler();
if (values.emulated) cpSync(process.execPath, join(bundle, 'node'));
else place(process.execPath, join(bundle, 'node'));
for (const name of ['tools/gpu-check', 'bench/peers/gpu_blob.py'])
  cpSync(join(root, name), join(bundle, name), { recursive: true });
for (const name of ['random-model', 'run-of-blob', 'statistics', 'workload'])
  cpSync(join(root, `bench/${name}.mjs`), join(bundle, `bench/${name}.mjs`));
cpSync(join(root, 'bench/results/cuda-cost-model.json'), join(bundle, 'cost-model.json'));
const about = { commit: commitOf(root), node: process.version, cuda: CUDA, package: PACKAGE };
writeFileSync(join(bundle, 'contents.json'), `${JSON.stringify(about)}\n`);

if (!values.emulated) {
  const archive = join(out, 'gpu-check.tar.xz');
  const pack = ['-cJf', archive, '-C', out, 'gpu-check'];
  must(run('tar', pack, { extraEnv: { XZ_OPT: '-6 -T0' } }), 'tar');
  const { size } = statSync(archive);
  process.stdout.write(
    `${archive}: ${(size / 1e6).toFixed(1)} MB of at most ${MOST_BYTES / 1e6}\n`,
  );
  must(size <= MOST_BYTES, 'packing into the size that can be carried');
  const listed = JSON.parse(readFileSync(join(kernels, 'kernels.json'), 'utf8'));
  const made = listed.architectures.map((of) => `sm_${of}`).join(', ');
  process.stdout.write(`kernels of nvcc ${listed.compiler} for ${made} and PTX\n`);
}
