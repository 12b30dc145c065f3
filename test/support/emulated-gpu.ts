/**
 * The engine with `cuda` on an emulated driver, for the processes of tests; `npm test` has built it
 * before.
 */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** What a process needs to see an emulated GPU, and the addon that can use it. */
export interface EmulatedGpu {
  /** Where driver and cuBLAS are found. */
  readonly LD_LIBRARY_PATH: string;
  readonly CUDA_EMU_KERNELS: string;
  readonly BPEFT_CUDA_KERNELS: string;
  readonly BPEFT_NATIVE_PATH: string;
}

/** Variables of a process with an emulated GPU; quick when nothing has changed. */
export function emulatedGpu(): EmulatedGpu {
  const build = [join(root, 'tools/cuda-emulator/addon.mjs'), '--json'];
  const { status, stdout, stderr } = spawnSync(process.execPath, build, {
    cwd: root,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as EmulatedGpu;
}

/** Eight rows of the fewest tokens, so that fibers in the place of a GPU's threads take seconds. */
export function shortRows(): string {
  const lines = Array.from({ length: 8 }, (_, row) =>
    JSON.stringify({ text: `n${row}`, label: row % 2 === 0 ? 'a' : 'b' }),
  );
  return `${lines.join('\n')}\n`;
}
