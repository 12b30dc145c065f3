// npm test: sets up, then lints and tests both languages; a lint stage counts as one test.
// The last line is `N passed, N failed` over everything.
//
// Stages run in two lanes, so that one works while the other waits for a linker, a server or the
// last crate. Cargo's lane is shown as it goes, a stage of the other when it ends. What measures
// delays or memory has the machine for itself, after both.

import { mkdirSync, rmSync } from 'node:fs';
import { addonTypes, binPath, installPackages, readText, root, start } from './steps.mjs';

/** The emulated CUDA driver is Linux on x86-64. */
const hasEmulator = process.platform === 'linux' && process.arch === 'x64';

const began = Date.now();
const secondsSince = (time) => `${((Date.now() - time) / 1000).toFixed(0)} s`;
let passed = 0;
let failed = 0;
const failures = [];

/**
 * Runs a stage; `work` gets what shows its output, and answers whether it is fine, or how many
 * tests passed and failed.
 */
async function stage(name, work, { isHeld = false } = {}) {
  const from = Date.now();
  const held = [];
  const write = (text) => process.stdout.write(text);
  const show = isHeld ? (text) => held.push(text) : write;
  show(`\n=== ${name}\n`);
  const outcome = await work(show);
  const counts =
    typeof outcome === 'boolean' ? { passed: Number(outcome), failed: Number(!outcome) } : outcome;
  passed += counts.passed;
  failed += counts.failed;
  if (counts.failed > 0) failures.push(`${name} (${counts.failed})`);
  const verdict = counts.failed === 0 ? 'ok' : 'FAILED';
  show(`=== ${name}: ${verdict} in ${secondsSince(from)}\n`);
  if (isHeld) write(held.join(''));
  return counts.failed === 0;
}

/** A stage's work that is a command, which says by its status whether it is fine. */
const command =
  (program, args, options = {}) =>
  async (show) =>
    (await start(program, args, { show, ...options })).ok;
const node = (...args) => command(process.execPath, args);
const bin = (name, ...args) => command(binPath(name), args);

async function cargoTest(show) {
  const tests = ['test', '--workspace', '--locked', '--no-fail-fast'];
  const { ok, stdout } = await start('cargo', tests, { show });
  const counts = { passed: 0, failed: 0 };
  for (const [, passedHere, failedHere] of stdout.matchAll(
    /test result: \w+\. (\d+) passed; (\d+) failed/g,
  )) {
    counts.passed += Number(passedHere);
    counts.failed += Number(failedHere);
  }
  // A crash or a compile error reports no test of its own.
  if (!ok && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** What needs a GPU, on the emulated driver. */
const cudaEmulated =
  (program, ...args) =>
  async (show) => {
    const tests = [`tools/cuda-emulator/${program}`, ...args];
    const { ok, stdout } = await start(process.execPath, tests, { show });
    const counts = /(\d+) passed, (\d+) failed\n$/.exec(stdout);
    if (counts === null) return false;
    return {
      passed: Number(counts[1]),
      failed: ok ? Number(counts[2]) : Math.max(1, Number(counts[2])),
    };
  };

/** Of several exclusions vitest would take back each by the other: projects are named. */
const vitest =
  (...projects) =>
  async (show) => {
    const folder = `${root}.cache`;
    const report = `${folder}/vitest-${projects[0]}.json`;
    mkdirSync(folder, { recursive: true });
    rmSync(report, { force: true });
    const { ok } = await start(
      binPath('vitest'),
      [
        'run',
        ...projects.map((name) => `--project=${name}`),
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${report}`,
      ],
      { show },
    );
    const text = readText(report);
    if (text === '') return false;
    const { numPassedTests, numFailedTests } = JSON.parse(text);
    return { passed: numPassedTests, failed: ok ? numFailedTests : Math.max(1, numFailedTests) };
  };

async function addonAndItsTypes(show) {
  const before = readText(addonTypes);
  if (!(await node('tools/build.mjs', 'native')(show))) return false;
  if (readText(addonTypes) === before) return true;
  show('ts/engine/addon.d.ts was out of date and has been written again: commit it\n');
  return false;
}

const clippy = ['clippy', '--workspace', '--all-targets', '--locked', '--', '-D', 'warnings'];
const doc = ['doc', '--workspace', '--no-deps', '--locked'];

async function cargoLane(addon) {
  await addon;
  await stage('cargo fmt', command('cargo', ['fmt', '--all', '--check']));
  await stage('cargo clippy', command('cargo', clippy));
  await stage('cargo doc', command('cargo', doc, { extraEnv: { RUSTDOCFLAGS: '-D warnings' } }));
  if (hasEmulator) {
    await stage('addon for GPUs, emulated', node('tools/cuda-emulator/addon.mjs'));
    // Once, with `cuda`: the tests of the CPU are the same there, and compile for half the time.
    await stage('cargo test, GPUs emulated', cudaEmulated('engine.mjs', '--workspace'));
  } else {
    await stage('cargo test', cargoTest);
  }
}

async function otherLane(addon) {
  const held = (name, work) => stage(name, work, { isHeld: true });
  await held('biome', bin('biome', 'check', '--error-on-warnings'));
  await held('knip', bin('knip'));
  if (hasEmulator) await held('CUDA kernels, emulated', cudaEmulated('test.mjs'));
  await addon; // it writes types that what follows reads
  await held('JavaScript build', node('tools/build.mjs', 'js'));
  await held('tsc', bin('tsc', '--noEmit'));
  await held('vitest', vitest('unit', 'types', 'package', 'services', 'e2e'));
}

if (await stage('npm packages', async () => installPackages())) {
  const addon = stage('addon, and its committed types', addonAndItsTypes);
  await Promise.all([cargoLane(addon), otherLane(addon)]);
  const quiet = ['native', ...(hasEmulator ? ['gpu'] : [])];
  await stage('vitest, alone', vitest(...quiet));
}

if (failures.length > 0) process.stdout.write(`\nfailed: ${failures.join(', ')}\n`);
process.stdout.write(`\nin ${secondsSince(began)}\n${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
