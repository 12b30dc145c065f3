/** An examination for people. */

import type { GpuProblem, GpuSurvey } from '../engine/gpus.ts';
import { bytesText } from '../hub/sizes.ts';
import type { Examination } from './examine.ts';

export function examinationLines(found: Examination): readonly string[] {
  const { versions, engine, cpu, memory, gpu } = found;
  return [
    `bpeft      ${versions.bpeft}, engine ${versions.engine}, Node ${versions.node}`,
    `engine     ${engine.file}`,
    `           ${engine.why}; ${engine.target}, ${engine.cuda ? 'CPU and GPUs' : 'CPU alone'}`,
    ...(engine.passedOver === null ? [] : [`           passed over: ${engine.passedOver}`]),
    `CPU        ${cpu.model}, ${cpu.processors} processors, ${cpu.threads} threads a model`,
    `           kernels ${cpu.dispatch} of ${cpu.dispatches.join(', ')}; ${cpu.features.join(' ')}`,
    `memory     ${bytesText(memory.freeBytes)} of ${bytesText(memory.totalBytes)} free`,
    ...gpuLines(gpu),
    `device     auto is ${found.device}${isUsable(found) ? '' : ', which cannot be used here'}`,
    ...found.selfTests.flatMap(({ device, passed, seconds, message, hint }) => {
      const problem = message === null ? null : { message, hint: hint ?? '' };
      const verdict = passed ? 'computes what it should' : 'FAILED';
      return [
        `self-test  ${device} ${verdict} (${seconds.toFixed(1)} s)`,
        ...problemLines(problem),
      ];
    }),
  ];
}

/** Of the device that `auto` means: `BPEFT_DEVICE` may name one that is not there. */
function isUsable({ device, gpu }: Examination): boolean {
  const gpus = gpu?.gpus ?? [];
  return device === 'cpu' || gpus.some((one) => one.device === device && one.problem === null);
}

function gpuLines(gpu: GpuSurvey | null): readonly string[] {
  if (gpu === null) return ['GPU        none is looked for: the engine is built for the CPU alone'];
  const { driver, driverFile, cublasFile, ncclFile, gpus, problem } = gpu;
  return [
    `driver     ${driver === null ? 'none' : `for CUDA ${driver}`}${driverFile === null ? '' : `, ${driverFile}`}`,
    `cuBLAS     ${cublasFile ?? 'none'}`,
    `NCCL       ${ncclFile ?? 'none: several GPUs add up by TCP'}`,
    ...problemLines(problem),
    ...gpus.flatMap(({ device, name, capability, memoryBytes, freeBytes, problem: own }) => {
      const free = freeBytes === null ? '' : `${bytesText(freeBytes)} of `;
      const room = `${free}${bytesText(memoryBytes)}${freeBytes === null ? '' : ' free'}`;
      return [
        `${device.padEnd(10)} ${name}, compute capability ${capability}, ${room}`,
        ...problemLines(own),
      ];
    }),
  ];
}

function problemLines(problem: GpuProblem | null): readonly string[] {
  if (problem === null) return [];
  const hint = problem.hint === '' ? [] : [`           hint: ${problem.hint}`];
  return [`           ${problem.message}`, ...hint];
}
