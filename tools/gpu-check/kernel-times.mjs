// Talks to kernel_times.cpp in this process: which kernels ran meanwhile, and for how long.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** Runs `work`; what the device did meanwhile, by name, in seconds; or why nobody knows. */
export async function kernelTimes(work) {
  const folder = process.env.KERNEL_TIMES;
  if (!folder) return { notRun: 'KERNEL_TIMES names no folder' };
  writeFileSync(join(folder, 'start'), '');
  const refused = await answered(folder, 'started');
  if (refused !== null) return { notRun: refused };
  rmSync(join(folder, 'started'));
  const began = performance.now();
  await work();
  const wall = (performance.now() - began) / 1000;
  writeFileSync(join(folder, 'stop'), '');
  const failed = await answered(folder, 'times.tsv');
  if (failed !== null) return { notRun: failed };
  const text = readFileSync(join(folder, 'times.tsv'), 'utf8');
  rmSync(join(folder, 'times.tsv'));
  return { wall_s: wall, ...summary(text) };
}

/** Waits for a file; why it does not come, or null. */
async function answered(folder, name) {
  for (let waited = 0; waited < 20_000; waited += 5) {
    if (existsSync(join(folder, name))) return null;
    const failed = join(folder, 'failed');
    if (existsSync(failed)) return readFileSync(failed, 'utf8').trim();
    await pause(5);
  }
  return `kernel_times.so did not answer within 20 s: is it in CUDA_INJECTION64_PATH?`;
}

/** Lines of times.tsv, by name, the longest first; `busy_s` counts what overlaps once. */
export function summary(text) {
  const lines = text.split('\n').filter((one) => one !== '');
  const origin = lines.length === 0 ? 0n : BigInt(lines[0].split('\t')[1]); // doubles are too short
  const byName = new Map();
  const spans = lines.map((line) => {
    const [, first, last, bytes, name] = line.split('\t');
    const [begin, end] = [first, last].map((time) => Number(BigInt(time) - origin));
    const row = byName.get(name) ?? { name, launches: 0, seconds: 0, bytes: 0 };
    row.launches += 1;
    row.seconds += (end - begin) / 1e9;
    row.bytes += Number(bytes);
    byName.set(name, row);
    return [begin, end];
  });
  spans.sort(([a], [b]) => a - b);
  let [busy, until] = [0, Number.NEGATIVE_INFINITY];
  for (const [begin, end] of spans) {
    busy += Math.max(0, end - Math.max(begin, until));
    until = Math.max(until, end);
  }
  const kernels = [...byName.values()].sort((a, b) => b.seconds - a.seconds);
  return { busy_s: busy / 1e9, kernels };
}
