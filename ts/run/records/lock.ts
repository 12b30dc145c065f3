/**
 * A folder's lock: one process writes, and a lock that a dead one left is taken over.
 *
 * The lock is a file that names its holder. On the same machine, in the same namespace of process
 * ids, a holder is alive if its process runs and began when the lock says. Of any other holder
 * (another host, another container) nothing but its heartbeat is known: it touches the file every
 * two seconds, and a file that nobody touches for ten is left by the dead. Only whether the file's
 * time changes counts, not what it is, so that clocks may differ between hosts.
 *
 * Taking is atomic: the file appears with its content by `link`, or by a name that must be new
 * where the file system has no links. Taking over happens under a guard file of its own, so that of
 * two processes which both see a dead holder one replaces it and the other sees a living one.
 */

import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import {
  type FileHandle,
  link,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { BpeftError, throwIfAborted } from '../../errors.ts';
import { io } from './atomic.ts';

const LOCK_FILE = '.lock';

/** Whether a file of that name belongs to a lock, and not to what the folder holds. */
export function isOfLock(name: string): boolean {
  return name.startsWith(LOCK_FILE);
}

const Holder = z.object({
  format: z.literal(1),
  token: z.string(),
  pid: z.int().positive(),
  /** When the process began, in ticks since the machine did; null where the system does not say. */
  started: z.string().nullable(),
  host: z.string(),
  /** Changes when the machine starts. */
  boot: z.string().nullable(),
  /** In which a process id means something. */
  namespace: z.string().nullable(),
});
export type Holder = z.output<typeof Holder>;

export interface LockTiming {
  readonly heartbeatMs: number;
  /** How long a file must lie untouched. */
  readonly patienceMs: number;
}

const TIMING: LockTiming = { heartbeatMs: 2_000, patienceMs: 10_000 };

export interface LockOptions {
  /** Told when a dead process's lock is taken over, or when it takes a while to know. */
  readonly notice?: (message: string) => void;
  readonly timing?: LockTiming;
  readonly signal?: AbortSignal | undefined;
}

/** Writes a file of the folder, which is made unless it is there; whether it was made. */
async function enterNew(folder: string, file: string, text: string): Promise<boolean> {
  const isNew = (await mkdir(folder, { recursive: true })) !== undefined;
  try {
    await writeFile(file, text, { flag: 'wx' });
    return isNew;
  } catch (error) {
    const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (!isGone || isNew) throw error;
    return enterNew(folder, file, text); // whoever made it went, and took it along
  }
}

/** @hideconstructor Use {@link FolderLock.take}. */
export class FolderLock implements AsyncDisposable {
  readonly #path: string;
  readonly #token: string;
  readonly #file: FileHandle;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #isNew: boolean;

  private constructor(
    { path, token, isNew }: { path: string; token: string; isNew: boolean },
    file: FileHandle,
    heartbeatMs: number,
  ) {
    this.#path = path;
    this.#isNew = isNew;
    this.#token = token;
    this.#file = file;
    this.#heartbeat = setInterval(() => {
      const now = new Date();
      // A beat that fails is one that others miss; what matters is asked by `requireHeld`.
      file.utimes(now, now).catch(() => undefined);
    }, heartbeatMs).unref();
  }

  /**
   * Makes the folder and keeps other processes out of it until the lock is released.
   * @throws {BpeftError} `BPEFT_RUN_EXISTS`: a living process writes there.
   */
  static async take(folder: string, options: LockOptions = {}): Promise<FolderLock> {
    const { signal } = options;
    const path = join(folder, LOCK_FILE);
    return io(path, async () => {
      const own = self();
      const temporary = `${path}.${own.token}`;
      const isNew = await enterNew(folder, temporary, `${JSON.stringify(own)}\n`);
      try {
        while (!(await appear(temporary, path))) {
          throwIfAborted(signal);
          const holder = await readHolder(path);
          if (holder === undefined) continue; // it was released just now
          if (await isAlive(path, holder, options)) throw held(folder, path, holder);
          if (await takeOver(path, temporary, holder)) {
            options.notice?.(
              `${folder}: took over the lock of ${described(holder)}, which is gone`,
            );
            break;
          }
        }
      } finally {
        await rm(temporary, { force: true });
      }
      const { heartbeatMs } = options.timing ?? TIMING;
      const place = { path, token: own.token, isNew };
      return new FolderLock(place, await open(path, 'r+'), heartbeatMs);
    });
  }

  /**
   * Asked before anything is replaced: a process that was stopped for long may have lost its lock.
   * @throws {BpeftError} `BPEFT_RUN_EXISTS`: another process has taken it.
   */
  async requireHeld(): Promise<void> {
    const holder = await readHolder(this.#path);
    if (holder?.token === this.#token) return;
    throw new BpeftError(
      'BPEFT_RUN_EXISTS',
      `${this.#path}: ${described(holder ?? null)} took the lock over while this one stood still`,
      { hint: 'let that one finish; nothing more is written by this process' },
    );
  }

  /** Lets a folder that is about to take the locked one's place hold the lock, too. */
  async enter(folder: string): Promise<void> {
    await appear(this.#path, join(folder, LOCK_FILE));
  }

  /** A folder that was made for the lock, and that nothing was written to, goes with it. */
  async release(): Promise<void> {
    clearInterval(this.#heartbeat);
    await this.#file.close();
    const holder = await readHolder(this.#path);
    if (holder?.token !== this.#token) return;
    await rm(this.#path, { force: true });
    if (this.#isNew) await rmdir(dirname(this.#path)).catch(() => undefined); // it is not empty
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

function held(folder: string, path: string, holder: Holder | null): BpeftError {
  return new BpeftError('BPEFT_RUN_EXISTS', `${described(holder)} is writing to ${folder}`, {
    hint: `wait for it, or remove ${path} if it is none of bpeft's`,
  });
}

function described(holder: Holder | null): string {
  if (holder === null) return 'another process';
  return `process ${holder.pid}${holder.host === hostname() ? '' : ` of host ${holder.host}`}`;
}

/** Gives the file its second name; false: the name is taken. */
async function appear(temporary: string, path: string): Promise<boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'].includes(code ?? '')) throw error;
  }
  try {
    await writeFile(path, await readFile(temporary), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** A guard older than this was left by a process that died while it took over. */
const GUARD_LIMIT_MS = 30_000;

/** Puts the own lock in the place of a dead holder's; false: somebody else was faster. */
async function takeOver(path: string, temporary: string, dead: Holder | null): Promise<boolean> {
  const guard = `${path}.guard`;
  try {
    await writeFile(guard, '', { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const age = Date.now() - ((await changedAt(guard)) ?? 0);
    if (age > GUARD_LIMIT_MS) await rm(guard, { force: true });
    await sleep(50);
    return false;
  }
  try {
    const now = await readHolder(path);
    if (now === undefined || now?.token !== dead?.token) return false;
    await rename(temporary, path);
    return true;
  } finally {
    await rm(guard, { force: true });
  }
}

/** Null: a lock that does not say whose it is; undefined: no lock. */
async function readHolder(path: string): Promise<Holder | null | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return Holder.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

async function isAlive(
  path: string,
  holder: Holder | null,
  { timing = TIMING, notice, signal }: LockOptions,
): Promise<boolean> {
  const known = holder === null ? null : knownToLive(holder);
  if (known !== null) return known;
  const { patienceMs, heartbeatMs } = timing;
  notice?.(
    `${path}: waiting ${patienceMs / 1000} s to learn whether ${described(holder)} is alive`,
  );
  const before = await changedAt(path);
  for (let waited = 0; waited < patienceMs; waited += heartbeatMs / 2) {
    await sleep(heartbeatMs / 2);
    throwIfAborted(signal);
    if ((await changedAt(path)) !== before) return true;
  }
  return false;
}

/** Null: its process cannot be looked at from here. */
function knownToLive(holder: Holder): boolean | null {
  const { boot, host, namespace } = place();
  if (holder.host !== host || holder.boot === null || holder.boot !== boot) {
    // The same host after a restart: nothing of before lives.
    return holder.host === host && holder.boot !== null && boot !== null ? false : null;
  }
  if (holder.namespace === null || holder.namespace !== namespace) return null;
  const started = startOf(holder.pid);
  return started === undefined ? null : started === holder.started;
}

/** Opened anew each time: a network file system then asks its server. Null: it is not there. */
async function changedAt(path: string): Promise<number | null> {
  try {
    const file = await open(path, 'r');
    try {
      return (await file.stat()).mtimeMs;
    } finally {
      await file.close();
    }
  } catch {
    return (await stat(path).catch(() => null))?.mtimeMs ?? null;
  }
}

function self(): Holder {
  return {
    format: 1,
    token: randomUUID(),
    pid: process.pid,
    started: startOf(process.pid) ?? null,
    ...place(),
  };
}

function place(): Pick<Holder, 'host' | 'boot' | 'namespace'> {
  return {
    host: hostname(),
    boot: orNull(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    namespace: orNull(() => readlinkSync('/proc/self/ns/pid')),
  };
}

/** Ticks since the machine's start; null: no such process; undefined: the system does not say. */
function startOf(pid: number): string | null | undefined {
  if (startIn('/proc/self/stat') === null) return undefined;
  return startIn(`/proc/${pid}/stat`);
}

/**
 * The 22nd field, and null for one that has ended but was not waited for (the third, Z or X);
 * the second, the command in brackets, may hold blanks (proc(5)).
 */
function startIn(path: string): string | null {
  const text = orNull(() => readFileSync(path, 'utf8'));
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? [];
  return ['Z', 'X'].includes(fields[0] ?? 'X') ? null : (fields[19] ?? null);
}

function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
