// node check.mjs BUNDLE --out FOLDER [--plan full|small] [--skip PART,…] [--python python3]: all
// parts of the check on this machine's GPU, one after another, within the plan's time. Writes
// results.json after each part and results.md at the end; exit code 1 when a part failed.
// cmd/gpu-check.sh starts it.
//
// A tool that the machine does not have or refuses is `notRun` with its message; what PyTorch has
// no memory for is a result.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { lastLines, runFor } from './commands.mjs';
import { page } from './page.mjs';
import { PLANS } from './plan.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: 'string' },
    plan: { type: 'string', default: 'full' },
    skip: { type: 'string', default: '' },
    python: { type: 'string', default: 'python3' },
    scratch: { type: 'string', default: tmpdir() },
  },
});
const [given] = positionals;
const plan = PLANS[values.plan];
if (given === undefined || values.out === undefined || plan === undefined) {
  process.stderr.write(
    `usage: node check.mjs BUNDLE --out FOLDER [--plan ${Object.keys(PLANS).join('|')}]\n`,
  );
  process.exit(2);
}
const bundle = resolve(given); // programs run in a folder of their own
const inBundle = (...path) => join(bundle, ...path);
const contents = JSON.parse(readFileSync(inBundle('contents.json'), 'utf8'));
const app = inBundle('node_modules/bpeft');
const kernels = inBundle('node_modules', contents.package, 'kernels');
const BASE = {
  BPEFT_CUDA_KERNELS: kernels,
  BPEFT_LIBRARY: join(app, 'dist/engine/index.js'),
  CUDA_GOLDENS: inBundle('goldens'),
  PYTHONUNBUFFERED: '1',
};
const scratch = mkdtempSync(join(values.scratch, 'bpeft-gpu-'));
const began = Date.now();
const results = { format: 1, began: new Date(began).toISOString(), contents, parts: {} };
mkdirSync(values.out, { recursive: true });

function secondsFor(part) {
  const left = plan.limits.all - (Date.now() - began) / 1000;
  return Math.min(plan.limits[part], left);
}

/** Runs a program of a part, unless the time of all parts is up. */
async function run(part, command, args, env = {}) {
  const seconds = secondsFor(part);
  if (seconds < 5) return { notRun: 'no time was left', stdout: '', stderr: '', seconds: 0 };
  return runFor(seconds, command, args, { env: { ...BASE, ...env }, cwd: scratch });
}

async function part(name, work) {
  if (values.skip.split(',').includes(name)) return;
  const start = Date.now();
  process.stdout.write(`${name} … `);
  const outcome = await work().catch(({ message }) => ({ passed: false, notRun: message }));
  results.parts[name] = { ...outcome, seconds: (Date.now() - start) / 1000 };
  writeFileSync(join(values.out, 'results.json'), `${JSON.stringify(results, null, 1)}\n`);
  process.stdout.write(`${outcome.notRun ?? (outcome.passed === false ? 'FAILED' : 'done')}\n`);
}

async function doctor() {
  const program = join(app, 'dist/cli/main.js');
  const { stdout, stderr, notRun } = await run('doctor', process.execPath, [
    ...[program, 'doctor', '--json'],
  ]);
  const smi = spawnSync('nvidia-smi', [
    '--query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit',
    '--format=csv',
  ]);
  const nvidia_smi = smi.error?.message ?? String(smi.stdout).trim();
  if (!stdout.startsWith('{')) {
    return { passed: false, notRun: notRun ?? lastLines(stderr), nvidia_smi };
  }
  const found = JSON.parse(stdout);
  const gpu = found.gpu?.gpus[0]?.name ?? null;
  results.gpu = gpu;
  const passed = gpu !== null && found.self_tests.every((test) => test.passed);
  return { passed, gpu, nvidia_smi, found };
}

/** Programs of tests, each of which ends in how many passed and failed. */
async function counted(name, folder, env, argsOf = () => []) {
  const rows = [];
  for (const program of readdirSync(inBundle(folder)).sort()) {
    const { stdout, stderr, status, notRun, seconds } = await run(
      ...[name, inBundle(folder, program), argsOf(program), env],
    );
    const counts = [...stdout.matchAll(/(\d+) passed[;,] (\d+) failed/g)];
    const sum = (index) => counts.reduce((all, match) => all + Number(match[index]), 0);
    const [passed, failed] = [sum(1), sum(2)];
    const isFine = status === 0 && failed === 0 && counts.length > 0;
    const said = isFine ? null : (notRun ?? lastLines(`${stdout}\n${stderr}`, 12));
    rows.push({ program, passed, failed, seconds, ...(isFine ? {} : { said }) });
  }
  return { passed: rows.every(({ said }) => said === undefined), rows };
}

async function model({ shape, layers }, type) {
  const file = join(scratch, `${shape}-${type}.gguf`);
  const depth = layers === undefined ? [] : ['--layers', String(layers)];
  const make = [inBundle('bench/random-model.mjs'), shape, file, '--type', type, ...depth];
  const { ok, stderr, notRun } = await run('ours', process.execPath, make);
  if (!ok) throw new Error(`no model ${shape}: ${notRun ?? lastLines(stderr)}`);
  return file;
}

const ALLOWED = { f32: 1e-4, bf16: 3e-2 };

async function parity() {
  const file = await model(plan.parity, 'q4_0');
  const script = inBundle('tools/gpu-check/parity.mjs');
  const ran = await run('parity', process.execPath, [script, file, JSON.stringify(plan.parity)]);
  rmSync(file);
  if (!ran.ok) return { passed: false, notRun: ran.notRun ?? lastLines(ran.stderr) };
  const found = JSON.parse(ran.stdout);
  const passed =
    found.bytes_kept === 0 &&
    Object.entries(found.precisions).every(
      ([precision, { losses, logits, same_bits }]) =>
        same_bits && Math.max(losses, logits) <= ALLOWED[precision],
    );
  return { passed, allowed: ALLOWED, ...found };
}

async function sanitizer() {
  const rows = [];
  const { programs, tools } = plan.sanitizer;
  for (const tool of tools) {
    for (const program of programs) {
      const command = [...['--tool', tool, '--error-exitcode', '9'], inBundle('programs', program)];
      const ran = await run('sanitizer', 'compute-sanitizer', command, { CUDA_KERNELS: kernels });
      const summary = /========= ((?:ERROR|RACECHECK) SUMMARY: .*)/.exec(ran.stdout)?.[1];
      const found = ran.ok && summary !== undefined ? { summary } : {};
      const refused = ran.notRun ?? lastLines(`${ran.stdout}\n${ran.stderr}`);
      const isFault = ran.status === 9;
      const row = { tool, program, seconds: ran.seconds, ...found };
      if (isFault) rows.push({ ...row, fault: refused });
      else rows.push(ran.ok ? row : { ...row, notRun: refused });
    }
  }
  return { passed: rows.every(({ fault }) => fault === undefined), rows };
}

/** Lines of JSON among whatever else a program printed. */
function rowsOf(stdout) {
  return stdout.split('\n').flatMap((line) => {
    try {
      return line.startsWith('{') ? [JSON.parse(line)] : [];
    } catch {
      return []; // cut when its time was up
    }
  });
}

async function ours(shape) {
  const file = await model(shape, 'bf16');
  const talk = mkdtempSync(join(scratch, 'times-'));
  const script = inBundle('tools/gpu-check/measure.mjs');
  const ran = await run('ours', process.execPath, [script, file, JSON.stringify(shape)], {
    CUDA_INJECTION64_PATH: inBundle('kernel_times.so'),
    KERNEL_TIMES: talk,
  });
  rmSync(file);
  const rows = rowsOf(ran.stdout);
  const failed = ran.ok ? {} : { notRun: ran.notRun ?? lastLines(ran.stderr) };
  return { passed: rows.some(({ what }) => what === 'step'), rows, ...failed };
}

async function peer({ shape, samples }, { batch, tokens }) {
  const script = inBundle('bench/peers/gpu_blob.py');
  const sizes = ['--batch', String(batch), '--len', String(tokens), '--samples', String(samples)];
  const own = { LD_LIBRARY_PATH: process.env.PEER_LIBRARY_PATH ?? '' };
  const ran = await run('peer', values.python, [script, '--shape', shape, ...sizes], own);
  const [row] = rowsOf(ran.stdout);
  if (ran.ok && row !== undefined) return { ...row };
  const said = lastLines(ran.stderr);
  const isFull = /OutOfMemoryError|CUDA out of memory/.test(ran.stderr);
  const of = { shape, batch, len: tokens, gpu: results.gpu };
  return isFull ? { ...of, out_of_memory: said } : { ...of, notRun: ran.notRun ?? said };
}

await part('doctor', doctor);
await part('kernels', () => counted('kernels', 'programs', { CUDA_KERNELS: kernels }));
const engine = { CARGO_MANIFEST_DIR: inBundle('crates/blob-core') }; // as cargo says where goldens lie
await part('engine', () =>
  counted('engine', 'engine', engine, (program) => plan.tests[program] ?? []),
);
await part('parity', parity);
for (const shape of plan.shapes) {
  await part(`bpeft ${shape.shape}`, () => ours(shape));
  for (const size of shape.batches) {
    const name = `PyTorch ${shape.shape} ${size.batch} × ${size.tokens}`;
    await part(name, () => peer(shape, size));
  }
}
await part('sanitizer', sanitizer);
rmSync(scratch, { recursive: true, force: true });
const model_of_cost = JSON.parse(readFileSync(inBundle('cost-model.json'), 'utf8'));
writeFileSync(join(values.out, 'results.md'), page(results, model_of_cost));
const failures = Object.entries(results.parts).filter(([, { passed }]) => passed === false);
process.stdout.write(
  `${failures.length === 0 ? 'nothing failed' : `failed: ${failures.map(([name]) => name)}`} in ${((Date.now() - began) / 1000).toFixed(0)} s; see ${join(values.out, 'results.md')}\n`,
);
process.exitCode = failures.length === 0 ? 0 : 1;
