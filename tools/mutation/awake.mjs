// Runs tests while one change is awake, until one of them sees it.

import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readText, root } from '../steps.mjs';
import { crate } from './asleep.mjs';

const scratch = `${root}.cache/mutation/scratch`;
const log = join(scratch, 'asked');

/** Some changes end no loop, some no list: of 20 s or more, and of 8 GB. */
const GRACE_MS = 20_000;
const MEMORY_KB = 8_000_000;

/** A change that no test sees is tried by all of them: those that take longer are left out. */
const SLOWEST_MS = 2000;

/** Each test of the executables: how long it takes, and which changes it asks for. */
export function surveyed(executables) {
  const tests = executables.flatMap((executable) => namesOf(executable.path, executable.name));
  return tests.map(asked).filter(({ milliseconds }) => milliseconds < SLOWEST_MS);
}

function asked(test) {
  clear();
  const start = performance.now();
  if (!passes(test, { MUTANT_LOG: log }, 600_000)) {
    throw new Error(`${test.title} fails without any change`);
  }
  const milliseconds = performance.now() - start;
  const numbers = readText(log).split('\n').filter(Boolean).map(Number);
  return { ...test, milliseconds, asked: new Set(numbers) };
}

function namesOf(path, target) {
  const { stdout } = spawnSync(path, ['--list', '--format', 'terse'], {
    cwd: crate,
    encoding: 'utf8',
  });
  const names = stdout.split('\n').filter((line) => line.endsWith(': test'));
  return names.map((line) => {
    const name = line.slice(0, -': test'.length);
    return { path, name, title: `${target} ${name}` };
  });
}

/** The first that fails, of those that ask for the change: `hints` first, then the fastest. */
export function seenBy(tests, number, hints) {
  const rank = ({ title, milliseconds }) =>
    hints.includes(title) ? hints.indexOf(title) - hints.length : milliseconds;
  const asking = tests.filter(({ asked }) => asked.has(number));
  asking.sort((one, other) => rank(one) - rank(other));
  for (const test of asking) {
    clear();
    const limit = GRACE_MS + 5 * Math.ceil(test.milliseconds);
    if (!passes(test, { MUTANT: String(number) }, limit)) return test.title;
  }
  return null;
}

function clear() {
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
}

function passes({ path, name }, extraEnv, timeout) {
  const limited = `ulimit -v ${MEMORY_KB}; exec "$@"`;
  const { status } = spawnSync('sh', ['-c', limited, 'sh', path, '--exact', name], {
    cwd: crate,
    env: { ...process.env, RUST_BACKTRACE: '0', TMPDIR: scratch, ...extraEnv },
    stdio: 'ignore',
    ...{ timeout, killSignal: 'SIGKILL' },
  });
  return status === 0;
}
