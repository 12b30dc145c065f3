// node tools/cuda-emulator/test.mjs [--all]: the emulator's own tests, a deliberate fault of each
// kind, and the CUDA kernels, on the emulated driver. Ends in `N passed, N failed`.
// Without --all the kernels run in order and under the checks; with it in every mode.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';
import { RUNS } from './modes.mjs';
import { wrongCounts } from './tests/counts.mjs';
import { FAULTS } from './tests/faults.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));

const files = (folder, ending) =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith(ending))
        .sort()
        .map((name) => join(folder, name))
    : [];
const KERNELS = files(join(root, 'crates/blob-core/src/kernels/cuda'), '.cu');
const KERNEL_TESTS = files(join(root, 'test/cuda'), '.cpp');
const OWN_KERNELS = [join(here, 'tests/faulty.cu')];
const OWN_TESTS = ['driver', 'products', 'ranks'].map((name) => join(here, `tests/${name}.cpp`));
const DEFECTS = join(here, 'tests/defects.cpp');
const COUNTING = { kernels: ['counting.cu'], programs: ['counting.cpp'] };

let passed = 0;
let failed = 0;
function count(ok, text) {
  if (ok) passed += 1;
  else failed += 1;
  if (!ok) process.stdout.write(`FAILED ${text}\n`);
}

function start(folder, program, args, variables) {
  const env = {
    ...process.env,
    LD_LIBRARY_PATH: folder.host,
    CUDA_EMU_KERNELS: folder.kernels,
    CUDA_EMU_DEVICES: '2',
    CUDA_GOLDENS: join(root, 'test/fixtures/cuda'),
    ...variables,
  };
  const { status, signal, stdout, stderr } = spawnSync(join(folder.host, program), args, {
    env,
    encoding: 'utf8',
  });
  return { status, signal, text: `${stdout}${stderr}` };
}

/** Counts the tests of a program from its last line. */
function runProgram(folder, source, run) {
  const program = basename(source, '.cpp');
  const { status, text } = start(folder, program, [], RUNS[run].variables);
  const counts = /(\d+) passed, (\d+) failed/.exec(text);
  if (counts === null) return count(false, `${program} (${run}): ended with ${status}\n${text}`);
  passed += Number(counts[1]);
  failed += Number(counts[2]);
  if (status !== 0) process.stdout.write(`${program} (${run}):\n${text}`);
}

const isAll = process.argv.includes('--all');
const began = Date.now();
const own = [...OWN_TESTS, DEFECTS];
const everything = { kernels: [...OWN_KERNELS, ...KERNELS], programs: [...own, ...KERNEL_TESTS] };
const folders = {
  plain: await build('plain', everything),
  checked: await build('checked', everything),
  asan: await build('asan', isAll ? everything : { kernels: OWN_KERNELS, programs: own }),
};
const inTests = (names) => names.map((name) => join(here, 'tests', name));
const counted = await build('counted', {
  kernels: inTests(COUNTING.kernels),
  programs: inTests(COUNTING.programs),
});
const built = Date.now();

for (const [name, notices] of Object.entries(FAULTS)) {
  for (const [run, expected] of Object.entries(notices.noticed)) {
    const { build: mode, variables } = RUNS[run];
    const outcome = start(folders[mode], 'defects', [name], { ...variables, ...notices.variables });
    const text = outcome.signal ? `killed by ${outcome.signal}` : outcome.text;
    count(expected.test(text), `fault ${name} (${run}): expected ${expected}, got\n${text}`);
  }
}
for (const blocks of [{}, { CUDA_EMU_BLOCKS: '4' }]) {
  const file = join(counted.kernels, 'counts.jsonl');
  const { status, text } = start(counted, 'counting', [], { CUDA_EMU_COUNTS: file, ...blocks });
  const wrong = status === 0 ? wrongCounts(readFileSync(file, 'utf8')) : text;
  count(wrong === null, `counts ${JSON.stringify(blocks)}: ${wrong}`);
}
const everyRun = Object.keys(RUNS);
for (const source of OWN_TESTS)
  for (const run of everyRun) runProgram(folders[RUNS[run].build], source, run);
for (const source of KERNEL_TESTS)
  for (const run of isAll ? everyRun : ['plain', 'checked'])
    runProgram(folders[RUNS[run].build], source, run);

const seconds = (from, to) => ((to - from) / 1000).toFixed(0);
process.stdout.write(
  `built in ${seconds(began, built)} s, run in ${seconds(built, Date.now())} s\n`,
);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
