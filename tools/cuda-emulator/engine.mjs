// node tools/cuda-emulator/engine.mjs [--mode NAME] [--workspace] [TEST…]: the engine with `cuda`,
// its operations and whole models held against their references on the emulated driver, as on any
// device. Ends in `N passed, N failed`. --mode: another of modes.mjs, without the lint; TEST: some
// of `TESTS`; --workspace: all tests that there are, also of what needs no GPU, in the same build.

import { parseArgs } from 'node:util';
import { run } from '../steps.mjs';
import { buildForEngine } from './build.mjs';
import { RUNS } from './modes.mjs';

const TESTS = [
  'operations',
  'devices',
  'parity',
  'cuda',
  'cuda_memory',
  'cuda_traffic',
  'cuda_graphs',
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mode: { type: 'string', default: 'plain' },
    workspace: { type: 'boolean', default: false },
  },
});
const mode = RUNS[values.mode];
const unknown = positionals.filter((name) => !TESTS.includes(name));
if (mode === undefined || unknown.length > 0) {
  const modes = Object.keys(RUNS).join(', ');
  process.stderr.write(`--mode must be one of ${modes}, tests of ${TESTS.join(', ')}\n`);
  process.exit(2);
}

/** Tests are not built with the sanitizer: its runtime has to be there before its libraries. */
function withSanitizer() {
  const where = ['-print-file-name=libasan.so'];
  const { stdout } = run('g++', where, { capture: true, isSilent: true });
  return { CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER: `env LD_PRELOAD=${stdout.trim()}` };
}

/** The workspace's files of tests that are not `TESTS`. */
function others() {
  const args = ['metadata', '--no-deps', '--locked', '--format-version', '1'];
  const { stdout } = run('cargo', args, { capture: true, isSilent: true });
  return JSON.parse(stdout)
    .packages.flatMap(({ targets }) => targets)
    .filter(({ name, kind }) => kind.includes('test') && !TESTS.includes(name))
    .map(({ name }) => name);
}

// With the addon beside it, so that what it depends on has the features, and the builds, of the
// addon.
const packages = values.workspace
  ? ['--workspace']
  : ['blob-core', 'napi-bindings'].flatMap((name) => ['--package', name]);
const engine = [...packages, '--features', 'cuda', '--locked'];
const tests = ['test', ...engine, '--no-fail-fast'];
const wanted = positionals.length > 0 ? positionals : TESTS;
const wantedFiles = wanted.filter((name) => name !== 'operations');
// The driver watches each array where it is asked for each, not for an arena: what is beside one,
// and what nobody has written.
const WATCHED = ['devices', 'parity', ...(values.mode === 'plain' ? [] : ['cuda'])];
const ofEach = { BPEFT_CUDA_ARENA: '0' };
const filesOf = (names) => names.flatMap((name) => ['--test', name]);
const isWatched = (name) => WATCHED.includes(name);
const rest = values.workspace
  ? [['--lib', '--', '--skip', 'ops::'], filesOf(others()), ['--doc']]
  : [];
const commands = [
  { which: wanted.includes('operations') ? ['--lib', 'ops::'] : [], env: ofEach },
  { which: filesOf(wantedFiles.filter(isWatched)), env: ofEach },
  { which: filesOf(wantedFiles.filter((name) => !isWatched(name))), env: {} },
  ...rest.map((which) => ({ which, env: {} })),
].filter(({ which }) => which.length > 0);
const extraEnv = { ...(await buildForEngine(mode.build)), ...mode.variables };
if (mode.build === 'asan') Object.assign(extraEnv, withSanitizer());
let passed = 0;
let failed = 0;
if (values.mode === 'plain') {
  const lint = ['clippy', ...engine, '--all-targets', '--', '-D', 'warnings'];
  if (run('cargo', lint).ok) passed += 1;
  else failed += 1;
}
for (const { which, env } of commands) {
  const variables = { ...extraEnv, ...env };
  const { ok, stdout } = run('cargo', [...tests, ...which], { capture: true, extraEnv: variables });
  let failedHere = 0;
  for (const [, good, bad] of stdout.matchAll(/test result: \w+\. (\d+) passed; (\d+) failed/g)) {
    passed += Number(good);
    failedHere += Number(bad);
  }
  failed += ok ? failedHere : Math.max(1, failedHere);
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
