// Builds the emulated driver and libraries, kernels as host C++ libraries, and test programs.
// What was built from the same text by the same command is taken from .cache/cuda.
//
//   driver/    libcuda.so.1     libraries/    libcublas, libcublasLt, libnccl
//   device/    what stands before each .cu file; `extern __shared__` becomes a pointer, and every
//              __global__ function an entry of its file's table

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { countArithmetic } from './arithmetic.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));
const KERNELS = join(root, 'crates/blob-core/src/kernels/cuda');
const MAJOR = 13;
const inRoot = (path) => join(root, path);

/**
 * How kernels are compiled, and what is compiled with them. `checked` puts hooks around every
 * access of a kernel; the hooks are in the plain driver. `counted` counts arithmetic as well.
 */
const MODES = {
  plain: { host: 'plain', kernels: [], all: [] },
  checked: {
    host: 'plain',
    kernels: [
      ...['-fsanitize=thread', '--param', 'tsan-instrument-func-entry-exit=0'],
      '-fsanitize=alignment',
    ],
    all: [],
  },
  counted: {
    host: 'plain',
    kernels: [
      ...['-fsanitize=thread', '--param', 'tsan-instrument-func-entry-exit=0'],
      ...['-fno-tree-vectorize', '-fno-tree-slp-vectorize', '-DEMU_COUNTED'],
    ],
    all: [],
    assembly: countArithmetic,
  },
  asan: { host: 'asan', kernels: ['-fsanitize-sections=emu_shared'], all: ['-fsanitize=address'] },
};
const BASE = ['-std=c++20', '-g', '-fPIC', '-march=x86-64-v3', '-ffp-contract=fast'];
const WARNINGS = ['-Wall', '-Wextra', '-Werror'];

/** Runs a command; its output comes back, or the error that it wrote. */
function run(command, args, input = '') {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const out = [];
    const err = [];
    child.stdout.on('data', (chunk) => out.push(chunk));
    child.stderr.on('data', (chunk) => err.push(chunk));
    child.on('error', (error) =>
      reject(new Error(`${error.message}: install a C++ compiler (g++)`)),
    );
    child.on('close', (status) => {
      if (status === 0) resolve(Buffer.concat(out).toString());
      else reject(new Error(`${command} ${args.join(' ')}\n${Buffer.concat(err)}`));
    });
    child.stdin.end(input);
  });
}

let running = 0;
const queue = [];
/** As many at once as there are processors. */
async function limited(work) {
  if (running >= availableParallelism()) await new Promise((resolve) => queue.push(resolve));
  running += 1;
  try {
    return await work();
  } finally {
    running -= 1;
    queue.shift()?.();
  }
}

/** Everything that a compiler may include, for the keys of the cache. */
function hashOfHeaders() {
  const hash = createHash('sha256');
  const folders = ['driver', 'device', 'libraries', 'tests'].map((name) => join(here, name));
  for (const folder of [...folders, KERNELS, ...['test/cuda', 'tools/gpu-check'].map(inRoot)]) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder)
      .filter((file) => /\.(h|cuh)$/.test(file))
      .sort())
      hash.update(name).update(readFileSync(join(folder, name)));
  }
  return hash.digest('hex');
}

/** Makes `target` from sources, unless the cache has it made by the same from the same. */
async function make(target, sources, args, work) {
  const hash = createHash('sha256').update(hashOfHeaders()).update(args.join('\0'));
  for (const source of sources) hash.update(readFileSync(source));
  const kept = join(root, '.cache/cuda/kept');
  mkdirSync(kept, { recursive: true });
  const key = join(kept, `${basename(target)}.${hash.digest('hex').slice(0, 16)}`);
  if (!existsSync(key)) {
    const part = `${key}.${process.pid}.part`; // others may build the same at the same time
    await limited(() => work(part));
    renameSync(part, key);
  }
  // Replaced at once, so that a running program keeps what it has mapped.
  const link = `${target}.${process.pid}.new`;
  rmSync(link, { force: true });
  symlinkSync(key, link);
  renameSync(link, target);
  return target;
}

async function library(folder, mode, name, soname, sources, version, needs = []) {
  const paths = sources.map((source) => join(here, source));
  const script = join(folder, `${name}.version`);
  if (version) writeFileSync(script, `${version} { global: *; };\n`);
  const versioned = version ? [`-Wl,--version-script,${script}`] : [];
  const flags = [
    ...BASE,
    '-O2',
    ...WARNINGS,
    ...MODES[mode].all,
    '-shared',
    `-Wl,-soname,${soname}`,
    ...versioned,
  ];
  const target = join(folder, soname);
  const work = (part) => run('g++', [...flags, '-o', part, ...paths, ...needs, '-ldl']);
  await make(target, paths, flags, work);
  const development = join(folder, `${name}.so`);
  if (!existsSync(development)) symlinkSync(soname, development);
}

/** The libraries, with the real sonames and symbol versions. */
async function buildDriver(folder, mode) {
  const driver = readdirSync(join(here, 'driver')).filter((file) => file.endsWith('.cpp'));
  await library(
    folder,
    mode,
    'libcuda',
    'libcuda.so.1',
    driver.map((file) => `driver/${file}`),
  );
  const cuda = [join(folder, 'libcuda.so.1')];
  const toolkit = (name, sources) =>
    library(folder, mode, name, `${name}.so.${MAJOR}`, sources, `${name}.so.${MAJOR}`, cuda);
  await Promise.all([
    toolkit('libcublas', ['libraries/cublas.cpp', 'libraries/product.cpp']),
    toolkit('libcublasLt', ['libraries/cublaslt.cpp', 'libraries/product.cpp']),
    library(folder, mode, 'libcupti', `libcupti.so.${MAJOR}`, ['libraries/cupti.cpp'], '', cuda),
    library(
      folder,
      mode,
      'libnccl',
      'libnccl.so.2',
      ['libraries/nccl.cpp', 'libraries/channel.cpp'],
      '',
      cuda,
    ),
  ]);
}

const SHARED = String.raw`static\s+__attribute__\(\(section\("emu_shared"\)\)\)`;
const ALIGNED = String.raw`(?:__attribute__\s*\(\(aligned\(\d+\)\)\)\s*)?`;
const DYNAMIC = new RegExp(
  `extern\\s+${SHARED}\\s+${ALIGNED}([\\w\\s:]+?)\\s+(\\w+)\\s*\\[\\s*\\]\\s*;`,
  'g',
);
const ENTRY = /__attribute__\(\(noinline, used\)\)\s*void\s+(\w+)\s*\(/g;

/** Preprocessed text with its dynamic shared memory as a pointer and the table of its kernels. */
function withEntries(text) {
  const body = text.replace(DYNAMIC, '$1 *$2 = static_cast<$1 *>(emu_launch.dynamic_shared);');
  const names = [...new Set([...body.matchAll(ENTRY)].map((match) => match[1]))].sort();
  const entry = (name) => {
    const parts = ['call', 'count', 'sizes', 'alignments', 'is_pointer'];
    return `  {"${name}", ${parts.map((part) => `EmuEntry<&${name}>::${part}`).join(', ')}},`;
  };
  return `${body}
extern "C" __attribute__((weak)) char __start_emu_shared[], __stop_emu_shared[];
static const EmuKernel emu_kernels[] = {
${names.map(entry).join('\n')}
};
static const EmuModule emu_module = {emu_kernels, ${names.length}, __start_emu_shared, __stop_emu_shared};
__attribute__((constructor)) static void emu_announce() { emu_register(&emu_module); }
`;
}

/** A .cu file as a host library. */
function buildKernel(host, mode, source) {
  const folder = kernelFolder(mode);
  mkdirSync(folder, { recursive: true });
  const device = join(here, 'device');
  const { all, kernels: hooks } = MODES[mode];
  const first = ['-include', join(device, 'cuda_host.h'), '-I', device, '-Wno-unknown-pragmas'];
  const flags = [
    ...BASE,
    '-O2',
    ...all,
    '-fno-threadsafe-statics',
    '-fno-strict-aliasing',
    '-w',
    ...hooks,
  ];
  const made = [...flags, String(MODES[mode].assembly ?? '')]; // its text: what it does
  return make(join(folder, `${basename(source, '.cu')}.so`), [source], made, async (part) => {
    const given = MODES[mode].kernels.filter((flag) => flag.startsWith('-D'));
    const text = await run('g++', [...BASE, ...all, ...given, ...first, '-x', 'c++', '-E', source]);
    const compile = [...flags, '-fpreprocessed', '-x', 'c++'];
    const { assembly } = MODES[mode];
    if (assembly === undefined) {
      await run('g++', [...compile, '-c', '-o', `${part}.o`, '-'], withEntries(text));
    } else {
      const plain = await run('g++', [...compile, '-S', '-o', '-', '-'], withEntries(text));
      await run('g++', ['-x', 'assembler', '-c', '-o', `${part}.o`, '-'], assembly(plain));
    }
    // No sanitizer's runtime is linked for the hooks of the checked mode.
    await run('g++', [...all, '-shared', '-o', part, `${part}.o`, join(host, 'libcuda.so.1')]);
    rmSync(`${part}.o`);
  });
}

/** A test program; it finds the emulated libraries by LD_LIBRARY_PATH, real ones without. */
function buildProgram(host, mode, source) {
  const target = join(host, basename(source, '.cpp'));
  const own = ['-I', join(here, 'tests'), '-Wl,--as-needed']; // what is not needed may be missing
  const flags = [...BASE, '-O1', ...WARNINGS, ...MODES[mode].all, ...own];
  const libraries = ['cuda', 'cublas', 'cublasLt', 'nccl'].map((name) => `-l${name}`);
  return make(target, [source], flags, (part) =>
    run('g++', [...flags, '-o', part, source, `-L${host}`, ...libraries]),
  );
}

function hostFolder(mode) {
  return join(root, '.cache/cuda', MODES[mode].host);
}
function kernelFolder(mode) {
  return join(root, '.cache/cuda', `kernels-${mode}`);
}

/**
 * A fat binary for each kernel, with an entry of PTX for sm_80 and nothing behind it: what the
 * engine reads, and what the driver looks for an architecture in.
 */
function buildImages(kernels) {
  const folder = join(root, '.cache/cuda/images');
  mkdirSync(folder, { recursive: true });
  const image = Buffer.alloc(16 + 64);
  image.writeUInt32LE(0xba55ed50, 0);
  image.writeUInt16LE(1, 4);
  image.writeUInt16LE(16, 6);
  image.writeBigUInt64LE(64n, 8);
  image.writeUInt16LE(1, 16);
  image.writeUInt32LE(64, 20);
  image.writeUInt32LE(80, 16 + 28);
  for (const source of kernels)
    writeFileSync(join(folder, `${basename(source, '.cu')}.fatbin`), image);
  return folder;
}

/** The driver and the engine's kernels, and the variables with which a program finds them. */
export async function buildForEngine(mode = 'plain') {
  const names = readdirSync(KERNELS).filter((name) => name.endsWith('.cu'));
  const kernels = names.map((name) => join(KERNELS, name));
  const emulated = await build(mode, { kernels, programs: [] });
  const others = process.env.LD_LIBRARY_PATH ?? '';
  return {
    LD_LIBRARY_PATH: [emulated.host, ...(others === '' ? [] : [others])].join(delimiter),
    CUDA_EMU_KERNELS: emulated.kernels,
    BPEFT_CUDA_KERNELS: buildImages(kernels),
  };
}

/** Removes what sources of another commit left in a folder, all of which the driver loads. */
function forgetOthers(folder) {
  if (!existsSync(folder)) return;
  const sources = [KERNELS, join(here, 'tests')].flatMap((of) => readdirSync(of));
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.so')))
    if (!sources.includes(`${basename(name, '.so')}.cu`)) rmSync(join(folder, name));
}

/** Everything for one mode; where programs and libraries are, and where kernels are. */
export async function build(mode, { kernels, programs }) {
  const host = hostFolder(mode);
  mkdirSync(host, { recursive: true });
  forgetOthers(kernelFolder(mode));
  await buildDriver(host, MODES[mode].host);
  await Promise.all([
    ...kernels.map((source) => buildKernel(host, mode, source)),
    ...programs.map((source) => buildProgram(host, MODES[mode].host, source)),
  ]);
  return { host, kernels: kernelFolder(mode) };
}
