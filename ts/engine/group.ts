/** Processes that train one adapter together: how they meet, and what rank 0 tells the others. */

import { asBpeftError, BpeftError } from '../errors.ts';
import { abortable, native } from './abort.ts';
import type { NativeGroup } from './addon.d.ts';
import type { CallOptions } from './call.ts';
import { loadNative } from './native.ts';

/** The place of a process among those that train together, as launchers of PyTorch give it. */
export interface Ranks {
  /** `RANK`, from 0; rank 0 writes the run's folder and tells its events. */
  readonly rank: number;
  /** `WORLD_SIZE`: how many there are. */
  readonly worldSize: number;
  /** `LOCAL_RANK`, from 0 on each machine: which GPU `cuda` and `auto` mean; 0 unless given. */
  readonly localRank?: number | undefined;
  /** `MASTER_ADDR`: where rank 0 is, as the others reach it. */
  readonly masterAddr: string;
  /** `MASTER_PORT`: where rank 0 listens. */
  readonly masterPort: number;
  /** How long ranks wait for each other at the start; 600 s unless given. */
  readonly meetSeconds?: number | undefined;
  /** How long a rank may be silent before it is taken for lost; 60 s unless given. */
  readonly silenceSeconds?: number | undefined;
}

const MEET_SECONDS = 600;
const SILENCE_SECONDS = 60;

/** Made by {@link Group.meet}. */
export class Group {
  readonly rank: number;
  readonly size: number;
  /** @internal */
  readonly handle: NativeGroup;

  private constructor(handle: NativeGroup, { rank, worldSize }: Ranks) {
    this.handle = handle;
    this.rank = rank;
    this.size = worldSize;
  }

  /**
   * Waits until all have come.
   * @param run what must be the same on all: a SHA-256, in hexadecimal digits
   * @throws {BpeftError} `BPEFT_RANKS`: not all come, or not all are of this run; `BPEFT_ABORTED`.
   */
  static async meet(ranks: Ranks, run: string, { signal }: CallOptions = {}): Promise<Group> {
    const { rank, worldSize, masterAddr, masterPort } = ranks;
    const { meetSeconds = MEET_SECONDS, silenceSeconds = SILENCE_SECONDS } = ranks;
    const place = { rank, size: worldSize, host: masterAddr, port: masterPort };
    const text = JSON.stringify({ ...place, run, meetSeconds, silenceSeconds });
    const { NativeGroup } = loadNative();
    return new Group(await abortable(signal, (abort) => NativeGroup.meet(text, abort)), ranks);
  }

  /** What rank 0 gives, on all of them; it must be JSON. */
  async toldByFirst<T>(own: T | null, { signal }: CallOptions = {}): Promise<T> {
    const text = JSON.stringify(own);
    const told = await abortable(signal, (abort) => this.handle.toldByFirst(text, abort));
    return JSON.parse(told) as T;
  }

  /** Tells the others what has ended this one; they end by it, unless they have ended before. */
  async stop(error: unknown): Promise<void> {
    const { code, message } = asBpeftError(error);
    await native(() => this.handle.stop(code, message));
  }

  leave(): void {
    this.handle.leave();
  }
}

/** @throws {BpeftError} `BPEFT_USAGE` naming what is no place among ranks. */
export function checkedRanks(ranks: Ranks): Ranks {
  const { rank, worldSize, localRank = 0, masterAddr, masterPort } = ranks;
  const whole = (name: string, value: number, [least, most]: readonly [number, number]) => {
    if (Number.isInteger(value) && value >= least && value <= most) return;
    const message = `${name} must be a whole number from ${least} to ${most}, got ${value}`;
    throw new BpeftError('BPEFT_USAGE', message);
  };
  whole('WORLD_SIZE', worldSize, [1, 1024]);
  whole('RANK', rank, [0, worldSize - 1]);
  whole('LOCAL_RANK', localRank, [0, 999]);
  whole('MASTER_PORT', masterPort, [1, 65_535]);
  if (masterAddr === '') {
    throw new BpeftError('BPEFT_USAGE', 'MASTER_ADDR must name the machine of rank 0, got nothing');
  }
  return ranks;
}
