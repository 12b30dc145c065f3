/** What data sheets say of GPUs that have kernels (sm_80 and later): dense rates, sums in f32. */

import { BpeftError } from '../errors.ts';

export interface KnownGpu {
  readonly name: string;
  readonly memoryBytes: number;
  readonly bytesPerSecond: number;
  /** FLOP/s of products in bf16 on tensor cores. */
  readonly bf16: number;
  /** FLOP/s in f32 without them. */
  readonly f32: number;
}

const gpu = (
  name: string,
  gb: number,
  gbPerSecond: number,
  bf16: number,
  f32: number,
): KnownGpu => ({
  name,
  memoryBytes: gb * 1e9,
  bytesPerSecond: gbPerSecond * 1e9,
  bf16: bf16 * 1e12,
  f32: f32 * 1e12,
});

const KNOWN: readonly KnownGpu[] = [
  gpu('a100', 80, 2039, 312, 19.5),
  gpu('h100', 80, 3350, 989, 67),
  gpu('h200', 141, 4800, 989, 67),
  gpu('b200', 180, 8000, 2250, 75),
  gpu('l4', 24, 300, 121, 30),
  gpu('l40s', 48, 864, 362, 91.6),
  gpu('rtx-3090', 24, 936, 71, 35.6),
  gpu('rtx-4090', 24, 1008, 165, 82.6),
];

/** @throws {BpeftError} `BPEFT_USAGE`: it is none of them. */
export function gpuNamed(name: string): KnownGpu {
  const found = KNOWN.find((one) => one.name === name.toLowerCase());
  if (found !== undefined) return found;
  throw new BpeftError('BPEFT_USAGE', `unknown GPU ${JSON.stringify(name)}`, {
    hint: `known: ${KNOWN.map((one) => one.name).join(', ')}`,
  });
}
