// Packages as a user gets them: packed, installed in an empty folder, and asked what they are.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './steps.mjs';

/** The tarballs of some folders, alone in `into`; null when npm refuses one, which it has said. */
export function packed(folders, into) {
  rmSync(into, { recursive: true, force: true });
  mkdirSync(into, { recursive: true });
  for (const folder of folders) {
    const pack = ['pack', '--silent', '--pack-destination', into, folder];
    if (!run('npm', pack, { stdio: ['ignore', 2, 2] }).ok) return null;
  }
  const tarballs = readdirSync(into).map((name) => join(into, name));
  for (const path of tarballs)
    process.stdout.write(`${path} ${(statSync(path).size / 1e6).toFixed(1)} MB\n`);
  return tarballs;
}

/**
 * Installs tarballs in an empty folder, which is there for as long as `use` looks at it.
 * @returns what `use` returns; null when they cannot be installed
 */
export async function installed(tarballs, flags, use) {
  const user = mkdtempSync(join(tmpdir(), 'bpeft-user-'));
  try {
    writeFileSync(join(user, 'package.json'), '{"name":"user","private":true}');
    const quiet = ['--no-audit', '--no-fund', '--silent'];
    const install = ['install', '--prefix', user, ...quiet, ...flags, ...tarballs];
    if (!run('npm', install, { stdio: ['ignore', 2, 2] }).ok) return null;
    return await use(user);
  } finally {
    rmSync(user, { recursive: true, force: true });
  }
}

/** `bpeft doctor --json` of an installation; null when it says nothing. */
export function doctor(user, { node = [process.execPath], extraEnv = {} } = {}) {
  const program = join(user, 'node_modules/bpeft/dist/cli/main.js');
  const [command, ...args] = [...node, program, 'doctor', '--json'];
  const { stdout } = run(command, args, {
    capture: true,
    isSilent: true,
    extraEnv: { BPEFT_CUDA_KERNELS: '', BPEFT_NATIVE_PATH: '', ...extraEnv },
  });
  return stdout === '' ? null : JSON.parse(stdout);
}

/** What an examination says of engine and CPU, in a line. */
export function summary({ engine, cpu, self_tests: [test] }) {
  const verdict = test.passed ? 'passed' : `FAILED: ${test.message}`;
  const what = `${engine.target}, ${engine.why}; kernels ${cpu.dispatch}`;
  return `${what}; self-test ${verdict}, ${test.seconds} s\n`;
}
