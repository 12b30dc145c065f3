// What a measurement says about where it was made: no host name, no path.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** The highest resident memory of this process so far, in MiB. */
export function peakRssMb() {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Math.round(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024);
}

/** Abbreviated commit of a checkout, with `-dirty` if it has changes; `unknown` outside git. */
export function commitOf(checkout) {
  const args = ['-C', checkout, 'describe', '--always', '--dirty', '--exclude', '*'];
  const { status, stdout } = spawnSync('git', args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : 'unknown';
}

/** Processor, cores, Node and the commit of the checkout that was measured. */
export function machine(checkout = '.') {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    node: process.version,
    commit: commitOf(checkout),
  };
}
