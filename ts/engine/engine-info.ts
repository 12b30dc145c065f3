/** What the engine says of itself. */

import { loadNative } from './native.ts';

export interface EngineInfo {
  readonly version: string;
  readonly target: string;
  /** Instruction set that the kernels use. */
  readonly dispatch: string;
  /** Those that this machine has, the widest first. */
  readonly dispatches: readonly string[];
  /** Whether it is built for GPUs. */
  readonly cuda: boolean;
  /** Of the processor. */
  readonly cpuFeatures: readonly string[];
  /** That this process may use: what a model takes as threads. */
  readonly processors: number;
}

export function engineInfo(): EngineInfo {
  const addon = loadNative();
  return { ...(JSON.parse(addon.engineInfo()) as EngineInfo), dispatches: addon.dispatches() };
}
