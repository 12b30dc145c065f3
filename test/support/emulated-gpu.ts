/** The engine with `cuda` on an emulated driver, for the processes of tests. */

import { inject } from 'vitest';

/** What a process needs to see an emulated GPU, and the addon that can use it. */
export interface EmulatedGpu {
  /** Where driver and cuBLAS are found. */
  readonly LD_LIBRARY_PATH: string;
  readonly CUDA_EMU_KERNELS: string;
  readonly BPEFT_CUDA_KERNELS: string;
  readonly BPEFT_NATIVE_PATH: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    emulatedGpu: EmulatedGpu;
  }
}

/** Variables of a process with an emulated GPU. */
export function emulatedGpu(): EmulatedGpu {
  return inject('emulatedGpu');
}

/** Eight rows of the fewest tokens, so that fibers in the place of a GPU's threads take seconds. */
export function shortRows(): string {
  const lines = Array.from({ length: 8 }, (_, row) =>
    JSON.stringify({ text: `n${row}`, label: row % 2 === 0 ? 'a' : 'b' }),
  );
  return `${lines.join('\n')}\n`;
}
