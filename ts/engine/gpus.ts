/** What this machine has for GPUs, as the engine sees it. */

import { native } from './abort.ts';
import { engineInfo } from './engine-info.ts';
import { kernelFolder, loadNative } from './native.ts';
import { brokenDriver } from './probe.ts';

export interface GpuSurvey {
  /** The newest release of CUDA that the driver supports. */
  readonly driver: string | null;
  readonly driverFile: string | null;
  readonly cublasFile: string | null;
  /** What several GPUs add up by; null: by TCP. */
  readonly ncclFile: string | null;
  /** Why no GPU can be used, where that is not one GPU's fault. */
  readonly problem: GpuProblem | null;
  readonly gpus: readonly FoundGpu[];
}

export interface FoundGpu {
  /** `cuda:N`, as `--device` takes it. */
  readonly device: string;
  readonly name: string;
  /** Compute capability. */
  readonly capability: string;
  readonly memoryBytes: number;
  /** Bytes that nobody uses; null where it cannot be opened. */
  readonly freeBytes: number | null;
  readonly problem: GpuProblem | null;
}

export interface GpuProblem {
  readonly message: string;
  readonly hint: string;
}

/**
 * Opens every GPU; null where the engine is built for the CPU alone. Of a driver that crashes or
 * hangs it says so.
 */
export async function surveyGpus(): Promise<GpuSurvey | null> {
  const kernels = kernelFolder();
  const broken = engineInfo().cuda
    ? await brokenDriver({ kind: 'cuda', ordinal: 0, kernels })
    : null;
  if (broken !== null) {
    const none = { driver: null, driverFile: null, cublasFile: null, ncclFile: null };
    return { ...none, problem: broken, gpus: [] };
  }
  return openGpus();
}

/** As {@link surveyGpus}, in a process that has used one already. */
export async function openGpus(): Promise<GpuSurvey | null> {
  const text = await native(() => loadNative().surveyGpus(kernelFolder()));
  return JSON.parse(text) as GpuSurvey | null;
}
