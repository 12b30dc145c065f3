/**
 * Once before the tests of project `gpu`: builds the engine with `cuda` and the emulated driver;
 * quick when nothing has changed. Built by each file, the addon would be written while another
 * runs.
 */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { EmulatedGpu } from './emulated-gpu.ts';

const root = join(import.meta.dirname, '../..');

export default function build(project: TestProject): void {
  const program = [join(root, 'tools/cuda-emulator/addon.mjs'), '--json'];
  const { status, stdout, stderr } = spawnSync(process.execPath, program, {
    cwd: root,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  project.provide('emulatedGpu', JSON.parse(stdout) as EmulatedGpu);
}
