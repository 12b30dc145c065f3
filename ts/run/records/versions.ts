/** What a result was made with: versions and hardware, nothing that names a person's machine. */

import { cpus, totalmem } from 'node:os';
import { engineInfo } from '../../engine/engine-info.ts';
import type { ModelInfo } from '../../engine/model-info.ts';
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
  /** `cpu` or `cuda:N`. */
  readonly device: string;
  /** What its maker calls the GPU. */
  readonly gpu: string | null;
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

/** @param model where it lies, and the threads of its pool */
export function hardware(model: Pick<ModelInfo, 'device' | 'gpu' | 'threads'>): Hardware {
  const cores = cpus();
  return {
    cpu: cores[0]?.model ?? 'unknown',
    cores: cores.length,
    threads: model.threads,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    device: model.device,
    gpu: model.gpu,
  };
}
