/** What a result was made with: versions and hardware, nothing that names a person's machine. */

import { cpus, totalmem } from 'node:os';
import { loadNative } from '../../engine/native.ts';
import { packageVersion } from '../../package-version.ts';

export interface Versions {
  readonly bpeft: string;
  readonly engine: string;
  readonly node: string;
  /** Instruction set that the kernels use. */
  readonly dispatch: string;
}

export interface Hardware {
  readonly cpu: string;
  readonly cores: number;
  readonly threads: number;
  readonly memoryGb: number;
  readonly gpu: string | null;
}

interface EngineInfo {
  readonly version: string;
  readonly dispatch: string;
}

export function versions(): Versions {
  const engine = engineInfo();
  return {
    bpeft: packageVersion(),
    engine: engine.version,
    node: process.versions.node,
    dispatch: engine.dispatch,
  };
}

/** @param threads of the model's pool */
export function hardware(threads: number): Hardware {
  const cores = cpus();
  return {
    cpu: cores[0]?.model ?? 'unknown',
    cores: cores.length,
    threads,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    gpu: null,
  };
}

function engineInfo(): EngineInfo {
  return JSON.parse(loadNative().engineInfo()) as EngineInfo;
}
