// npm run build:cuda -- [--cuda 13.0] [--toolkit FOLDER] [--out FOLDER] [--package]: compiles the
// CUDA kernels, one fat binary a file: sm_80, sm_90, sm_100 and PTX for what comes later. No GPU
// and no system toolkit (cuda-compilers.mjs), unless --toolkit names one. What was made is listed
// with its SHA-256. --package: then the engine for GPUs around them, packed, installed in an empty
// folder and tried.

import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { compilerOf } from './cuda-compilers.mjs';
import { root } from './steps.mjs';

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

function sha256(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** Everything that decides a binary: sources, headers and compiler. */
function keyOf(source, compiler) {
  const hash = createHash('sha256').update(compiler.key.join('\0'));
  const headers = readdirSync(KERNELS).filter((name) => name.endsWith('.cuh'));
  for (const name of [basename(source), ...headers.sort()])
    hash.update(readFileSync(join(KERNELS, name)));
  return hash.digest('hex');
}

function compiler() {
  try {
    return compilerOf(values.cuda, values.toolkit, ARCHITECTURES);
  } catch (error) {
    return fail(error.message);
  }
}

const by = compiler();
mkdirSync(out, { recursive: true });

const made = [];
for (const name of readdirSync(KERNELS).filter((file) => file.endsWith('.cu'))) {
  const source = join(KERNELS, name);
  const stem = basename(name, '.cu');
  const kept = join(root, '.cache/cuda', `${stem}.${keyOf(source, by).slice(0, 16)}.fatbin`);
  const began = Date.now();
  if (!existsSync(kept)) {
    if (!by.compile(source, `${kept}.part`)) fail(`${name} does not compile: see above`);
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
const { name: compiledBy, version } = by;
const list = {
  cuda: values.cuda,
  compiler: version,
  architectures: ARCHITECTURES,
  ptx: 80,
  files: made,
};
writeFileSync(join(out, 'kernels.json'), `${JSON.stringify(list, null, 2)}\n`);
process.stdout.write(`${compiledBy} ${version}; listed in ${join(out, 'kernels.json')}\n`);
if (values.package === true) {
  const { packAndTry } = await import('./cuda-package.mjs');
  if (!(await packAndTry(values.cuda, out))) fail('the package does not work: see above');
}
