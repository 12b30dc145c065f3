// npm test: sets up, then lints and tests both languages; a lint stage counts as one test.
// The last line is `N passed, N failed` over everything.

import { mkdirSync, rmSync } from 'node:fs';
import {
  addonTypes,
  bin,
  buildJavaScript,
  buildNative,
  installPackages,
  readText,
  root,
  run,
} from './steps.mjs';

/** The emulated CUDA driver is Linux on x86-64. */
const hasEmulator = process.platform === 'linux' && process.arch === 'x64';

let passed = 0;
let failed = 0;
const failures = [];

/** Runs a stage; `work` returns whether it is fine, or how many tests passed and failed. */
function stage(name, work) {
  const start = Date.now();
  process.stdout.write(`\n=== ${name}\n`);
  const outcome = work();
  const counts =
    typeof outcome === 'boolean' ? { passed: Number(outcome), failed: Number(!outcome) } : outcome;
  passed += counts.passed;
  failed += counts.failed;
  if (counts.failed > 0) failures.push(`${name} (${counts.failed})`);
  process.stdout.write(
    `=== ${name}: ${counts.failed === 0 ? 'ok' : 'FAILED'} in ${((Date.now() - start) / 1000).toFixed(0)} s\n`,
  );
  return counts.failed === 0;
}

function cargoTest() {
  const { ok, stdout } = run('cargo', ['test', '--workspace', '--locked', '--no-fail-fast'], {
    capture: true,
  });
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
function cudaEmulated(program, ...args) {
  const command = [`tools/cuda-emulator/${program}`, ...args];
  const { ok, stdout } = run(process.execPath, command, { capture: true });
  const counts = /(\d+) passed, (\d+) failed\n$/.exec(stdout);
  if (counts === null) return false;
  return {
    passed: Number(counts[1]),
    failed: ok ? Number(counts[2]) : Math.max(1, Number(counts[2])),
  };
}

function vitest() {
  const folder = `${root}.cache`;
  const report = `${folder}/vitest.json`;
  mkdirSync(folder, { recursive: true });
  rmSync(report, { force: true });
  const { ok } = bin('vitest', [
    'run',
    // All but `long` and `browser`: of several exclusions vitest would take back each by the other.
    ...[
      'unit',
      'types',
      'native',
      'package',
      'services',
      'e2e',
      ...(hasEmulator ? ['gpu'] : []),
    ].map((name) => `--project=${name}`),
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  const text = readText(report);
  if (text === '') return false;
  const { numPassedTests, numFailedTests } = JSON.parse(text);
  return { passed: numPassedTests, failed: ok ? numFailedTests : Math.max(1, numFailedTests) };
}

function addonAndItsTypes() {
  const before = readText(addonTypes);
  if (buildNative() === null) return false;
  if (readText(addonTypes) === before) return true;
  process.stdout.write(
    'ts/engine/addon.d.ts was out of date and has been written again: commit it\n',
  );
  return false;
}

if (stage('npm packages', installPackages)) {
  stage('addon, and its committed types', addonAndItsTypes);
  stage('JavaScript build', buildJavaScript);
  stage('cargo fmt', () => run('cargo', ['fmt', '--all', '--check']).ok);
  stage(
    'cargo clippy',
    () =>
      run('cargo', ['clippy', '--workspace', '--all-targets', '--locked', '--', '-D', 'warnings'])
        .ok,
  );
  stage(
    'cargo doc',
    () =>
      run('cargo', ['doc', '--workspace', '--no-deps', '--locked'], {
        extraEnv: { RUSTDOCFLAGS: '-D warnings' },
      }).ok,
  );
  if (hasEmulator) {
    stage(
      'addon for GPUs, emulated',
      () => run(process.execPath, ['tools/cuda-emulator/addon.mjs']).ok,
    );
    stage('CUDA kernels, emulated', () => cudaEmulated('test.mjs'));
    // Once, with `cuda`: the tests of the CPU are the same there, and compile for half the time.
    stage('cargo test, GPUs emulated', () => cudaEmulated('engine.mjs', '--workspace'));
  } else {
    stage('cargo test', cargoTest);
  }
  stage('tsc', () => bin('tsc', ['--noEmit']).ok);
  stage('biome', () => bin('biome', ['check', '--error-on-warnings']).ok);
  stage('knip', () => bin('knip', []).ok);
  stage('vitest', vitest);
}

if (failures.length > 0) process.stdout.write(`\nfailed: ${failures.join(', ')}\n`);
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
