// node tools/cuda-emulator/engine.mjs: the engine with `cuda`, its operations and whole models held
// against their references on the emulated driver, as on any device. Ends in `N passed, N failed`.

import { run } from '../steps.mjs';
import { buildForEngine } from './build.mjs';

const extraEnv = await buildForEngine();
const engine = ['--package', 'blob-core', '--features', 'cuda', '--locked'];
const tests = [
  ['--lib', 'ops::'],
  ['devices', 'parity', 'cuda', 'cuda_memory', 'cuda_traffic'].flatMap((name) => ['--test', name]),
];
let passed = 0;
let failed = 0;
const lint = ['clippy', ...engine, '--all-targets', '--', '-D', 'warnings'];
if (run('cargo', lint).ok) passed += 1;
else failed += 1;
for (const which of tests) {
  const { ok, stdout } = run('cargo', ['test', ...engine, ...which], { capture: true, extraEnv });
  let failedHere = 0;
  for (const [, good, bad] of stdout.matchAll(/test result: \w+\. (\d+) passed; (\d+) failed/g)) {
    passed += Number(good);
    failedHere += Number(bad);
  }
  failed += ok ? failedHere : Math.max(1, failedHere);
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
