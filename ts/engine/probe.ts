/**
 * Whether a GPU can be used, found out once by a process of its own: a driver that crashes or hangs
 * takes that process with it, and not the caller's.
 *
 * The verdict is kept in `$BPEFT_HOME/gpu-probes.json` for as long as nothing changes that it
 * depends on: the engine's file, the driver, where libraries are looked for, the variables of CUDA,
 * and the boot of the machine. One against a GPU is kept for `auto` alone; a full memory is none.
 */

import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { cacheHome } from '../cache-home.ts';
import { BpeftError, type BpeftErrorCode } from '../errors.ts';
import { workerUrl } from '../threads/off-thread.ts';
import { nativeFile } from './native.ts';

export interface ProbeRequest {
  readonly device: { readonly kind: 'cuda'; readonly ordinal: number; readonly kernels: string };
}

/** Null: it can be used. */
export type Verdict = {
  readonly code: BpeftErrorCode;
  readonly message: string;
  readonly hint: string | null;
} | null;

/** Seconds that a GPU may take, unless `BPEFT_PROBE_SECONDS` says otherwise; most take two. */
const PATIENCE = 60;
const BROKEN =
  "the driver may be broken: see what nvidia-smi and the kernel's log say, or use the CPU";
/** Verdicts that are kept, the newest first. */
const KEPT = 16;

/**
 * @param isStrict whether a kept verdict against it is asked for again
 * @throws {BpeftError} `BPEFT_DEVICE`: what is missing, or how the process ended that tried it
 */
export async function requireUsable(
  device: ProbeRequest['device'],
  isStrict: boolean,
): Promise<void> {
  const key = keyOf(device);
  const file = join(cacheHome(), 'gpu-probes.json');
  const kept = await keptVerdicts(file);
  const known = kept.find((one) => one.key === key);
  const isEnough = known !== undefined && (known.verdict === null || !isStrict);
  const verdict = isEnough ? known.verdict : await probe(device);
  if (!isEnough) {
    await keep(file, [{ key, verdict }, ...kept.filter((one) => one.key !== key)].slice(0, KEPT));
  }
  if (verdict === null) return;
  throw new BpeftError(verdict.code, verdict.message, { hint: verdict.hint ?? undefined });
}

/** How the process ended that tried it, if it did without an answer. */
export async function brokenDriver(
  device: ProbeRequest['device'],
): Promise<{ readonly message: string; readonly hint: string } | null> {
  const verdict = await probe(device);
  return verdict?.hint === BROKEN ? { message: verdict.message, hint: BROKEN } : null;
}

/** @throws {BpeftError} `BPEFT_USAGE`: `BPEFT_PROBE_SECONDS` is none. */
function patience(): number {
  const text = process.env.BPEFT_PROBE_SECONDS;
  if (text === undefined || text === '') return PATIENCE;
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 3600) return seconds;
  throw new BpeftError(
    'BPEFT_USAGE',
    `BPEFT_PROBE_SECONDS must be above 0 and at most 3600, got ${JSON.stringify(text)}`,
  );
}

async function probe(device: ProbeRequest['device']): Promise<Verdict> {
  const seconds = patience();
  const broken = (how: string): Verdict => ({
    code: 'BPEFT_DEVICE',
    message: `cuda:${device.ordinal}: the process that tried it ${how}`,
    hint: BROKEN,
  });
  return new Promise((resolve) => {
    const child = fork(workerUrl('engine/probe-worker'), {
      ...{ execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] },
    });
    let verdict: Verdict | undefined;
    const done = (answer: Verdict) => {
      clearTimeout(timer);
      resolve(answer);
    };
    const timer = setTimeout(() => {
      // One that waits inside the kernel cannot be ended: nobody waits for it.
      child.kill('SIGKILL');
      child.unref();
      child.channel?.unref();
      done(broken(`did not answer within ${seconds} s`));
    }, seconds * 1000);
    child.on('message', (message: { isUsable: true } | NonNullable<Verdict>) => {
      // What a full memory refuses, loading a model will say with its numbers.
      const isFine = 'isUsable' in message || message.code === 'BPEFT_OUT_OF_MEMORY';
      verdict = isFine ? null : message;
    });
    child.once('error', () => done(null)); // no process can be had: the caller tries it itself
    child.once('exit', (code, signal) => {
      done(verdict === undefined ? broken(`ended with ${signal ?? code}`) : verdict);
    });
    child.send({ device } satisfies ProbeRequest);
  });
}

interface Kept {
  readonly key: string;
  readonly verdict: Verdict;
}

/** Everything that decides a verdict, as a hash. */
function keyOf(device: ProbeRequest['device']): string {
  const { file } = nativeFile();
  const { env } = process;
  const variables = Object.entries(env).filter(([name]) => /^(CUDA_|LD_LIBRARY_PATH$)/.test(name));
  const folders = (env.LD_LIBRARY_PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const parts = [
    [file, stamp(file), device, stamp(device.kernels), variables.sort()],
    ['/etc/ld.so.cache', ...folders.map((folder) => join(folder, 'libcuda.so.1'))].map(stamp),
    ['/proc/driver/nvidia/version', '/proc/sys/kernel/random/boot_id'].map(textOf),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}

function stamp(path: string): string | null {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : `${found.size} ${found.mtimeMs}`;
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

async function keptVerdicts(file: string): Promise<readonly Kept[]> {
  try {
    const found: unknown = JSON.parse(await readFile(file, 'utf8'));
    return Array.isArray(found) ? found.filter(isKept) : [];
  } catch {
    return [];
  }
}

function isKept(value: unknown): value is Kept {
  const { key, verdict } = (value ?? {}) as { key?: unknown; verdict?: unknown };
  if (typeof key !== 'string' || verdict === undefined) return false;
  if (verdict === null) return true;
  const { code, message } = verdict as { code?: unknown; message?: unknown };
  return code === 'BPEFT_DEVICE' && typeof message === 'string';
}

/** Where the cache cannot be written, the next process asks again. */
async function keep(file: string, verdicts: readonly Kept[]): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    await mkdir(cacheHome(), { recursive: true, mode: 0o700 });
    await writeFile(temporary, JSON.stringify(verdicts));
    await rename(temporary, file);
  } catch {}
}
