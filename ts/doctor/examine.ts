/** What a report of trouble needs to know about a machine, and whether the engine works on it. */

import { cpus, freemem, totalmem } from 'node:os';
import { namedDevice } from '../engine/device.ts';
import { type EngineInfo, engineInfo } from '../engine/engine-info.ts';
import { type GpuSurvey, surveyGpus } from '../engine/gpus.ts';
import { type NativeFile, nativeFile } from '../engine/native.ts';
import { threadCount } from '../engine/threads.ts';
import { packageVersion } from '../package-version.ts';
import { type SelfTest, selfTest } from './self-test.ts';

export interface Examination {
  readonly format: 1;
  readonly versions: { readonly bpeft: string; readonly engine: string; readonly node: string };
  /** The engine's file, and why it is this one. */
  readonly engine: NativeFile & Pick<EngineInfo, 'target' | 'cuda'>;
  readonly cpu: {
    readonly model: string;
    readonly processors: number;
    readonly features: readonly string[];
    /** Instructions that the kernels use, and those they could use, the fastest first. */
    readonly dispatch: string;
    readonly dispatches: readonly string[];
    /** Of a model that is loaded without `--threads`. */
    readonly threads: number;
  };
  readonly memory: { readonly totalBytes: number; readonly freeBytes: number };
  /** What `--device auto` means here. */
  readonly device: string;
  /** Null: the engine is built for the CPU alone. */
  readonly gpu: GpuSurvey | null;
  readonly selfTests: readonly SelfTest[];
}

/** Loads the engine, opens every GPU, and tests each device; takes some seconds. */
export async function examine(): Promise<Examination> {
  const asked = namedDevice(undefined); // a wrong BPEFT_DEVICE is told before anything else
  const engine = engineInfo();
  const processors = cpus();
  const gpu = await surveyGpus();
  const usable = (gpu?.gpus ?? [])
    .filter(({ problem }) => problem === null)
    .map(({ device }) => device);
  const selfTests: SelfTest[] = [];
  for (const device of ['cpu', ...usable]) selfTests.push(await selfTest(device));
  const automatic = usable.includes('cuda:0') ? 'cuda:0' : 'cpu';
  return {
    format: 1,
    versions: { bpeft: packageVersion(), engine: engine.version, node: process.versions.node },
    engine: { ...nativeFile(), target: engine.target, cuda: engine.cuda },
    cpu: {
      model: processors[0]?.model ?? 'unknown',
      processors: processors.length,
      features: engine.cpuFeatures,
      dispatch: engine.dispatch,
      dispatches: engine.dispatches,
      threads: threadCount(undefined) ?? engine.processors,
    },
    memory: { totalBytes: totalmem(), freeBytes: freemem() },
    device:
      asked.kind === 'cuda'
        ? `cuda:${asked.ordinal ?? 0}`
        : asked.kind === 'cpu'
          ? 'cpu'
          : automatic,
    gpu,
    selfTests,
  };
}
