/**
 * How many batches, updates and epochs a run has, its schedule, and the cycle M of the KL weight.
 *
 * ```text
 * n rows, batch size b, P processes, l = ⌊n/b⌋ batches (⌈n/b⌉ where the last is kept), l_p = ⌊l/P⌋
 * (⌈l/P⌉)
 * reference  E = ⌈max_steps / l⌉ whole epochs of l_p updates; the schedule counts batches of all processes:
 *            T = max_steps, else ⌊N·E / b⌋, N = l·b (n where kept); P ticks per update, none stops at T
 * corrected  the schedule counts updates and stops at T = max_steps, else E·updates per epoch
 * warm-up    W = T · warmup_ratio, not rounded; reference from 0, so that the first update has rate 0;
 *            corrected from 1/W, so that every update trains
 * KL cycle   epoch M = ⌊l_p/a⌋ (⌈l_p/a⌉);  rescaled M = ⌊100 · N^(π/γ) / (l/l_p) / b / a⌋;
 *            auto M = rescaled in reference, max(1, round(T/10)) in corrected;  a batches accumulated per update
 * ```
 *
 * N and l are those of BLoB's reference code (arXiv 2406.11675); γ is its `--bayes-gamma`. It
 * accumulates nothing: there M counts updates, which are batches of a process. Here it still counts
 * updates, a times fewer.
 */

import type { ScheduleOptions } from '../methods/engine-options.ts';
import type { Protocol } from './data-protocol.ts';

export interface AccountingOptions {
  readonly rows: number;
  readonly batchSize: number;
  readonly lastBatch: 'drop' | 'keep';
  /** P, the GPUs of the reference to account for. */
  readonly processes?: number;
  readonly gradAccumulation?: number;
  /** Null: by epochs. */
  readonly maxSteps: number | null;
  /** Used where `maxSteps` is null. */
  readonly epochs: number | null;
  readonly warmupRatio: number;
  readonly klGamma?: number;
}

export interface Accounting {
  /** l */
  readonly batchesPerEpoch: number;
  readonly updatesPerEpoch: number;
  /** Micro-batches of one update: P × gradient accumulation. */
  readonly batchesPerUpdate: number;
  /** N */
  readonly rowsPerEpoch: number;
  /** Epochs begun. */
  readonly epochs: number;
  /** Updates that the run makes. */
  readonly updates: number;
  /** Micro-batches of all processes. */
  readonly batchesRun: number;
  /** T and W in ticks; an update advances by `stride` ticks. */
  readonly schedule: ScheduleOptions;
  /** Share of the updates after the rate has reached 0. */
  readonly noOpShare: number;
  /** M in updates; `auto` is the protocol's own rule. */
  readonly klCycle: { readonly auto: number; readonly epoch: number; readonly rescaled: number };
}

const DEFAULT_KL_GAMMA = 8;
const CYCLES_PER_RUN = 10;

export function stepAccounting(protocol: Protocol, options: AccountingOptions): Accounting {
  const { rows, batchSize, lastBatch, maxSteps, epochs, warmupRatio } = options;
  const { processes = 1, gradAccumulation = 1, klGamma = DEFAULT_KL_GAMMA } = options;
  const part = lastBatch === 'drop' ? Math.floor : Math.ceil;
  const batchesPerUpdate = processes * gradAccumulation;
  const batchesPerEpoch = part(rows / batchSize);
  const batchesPerProcess = part(batchesPerEpoch / processes);
  const updatesPerEpoch = part(batchesPerEpoch / batchesPerUpdate);
  const rowsPerEpoch = lastBatch === 'drop' ? batchesPerEpoch * batchSize : rows;

  const perProcess = batchesPerEpoch / batchesPerProcess;
  const pulse =
    (100 * rowsPerEpoch ** (Math.PI / klGamma)) / perProcess / batchSize / gradAccumulation;
  const epoch = Math.max(1, updatesPerEpoch);
  const rescaled = Math.max(1, Math.trunc(pulse));
  const common = { batchesPerEpoch, updatesPerEpoch, batchesPerUpdate, rowsPerEpoch };

  if (protocol === 'reference') {
    const wholeEpochs = maxSteps === null ? (epochs ?? 0) : Math.ceil(maxSteps / batchesPerEpoch);
    const total = maxSteps ?? Math.floor((rowsPerEpoch * wholeEpochs) / batchSize);
    const updates = wholeEpochs * updatesPerEpoch;
    const effective = Math.min(updates, Math.ceil(total / batchesPerUpdate));
    const perEpoch = lastBatch === 'drop' ? updatesPerEpoch * batchesPerUpdate : batchesPerEpoch;
    return {
      ...common,
      epochs: wholeEpochs,
      updates,
      batchesRun: wholeEpochs * perEpoch,
      schedule: { total, warmup: total * warmupRatio, warmupStart: 0, stride: batchesPerUpdate },
      noOpShare: updates === 0 ? 0 : (updates - effective) / updates,
      klCycle: { auto: rescaled, epoch, rescaled },
    };
  }

  const total = maxSteps ?? (epochs ?? 0) * updatesPerEpoch;
  const lastEpochUpdates = total % updatesPerEpoch;
  const perEpoch = lastBatch === 'drop' ? updatesPerEpoch * batchesPerUpdate : batchesPerEpoch;
  return {
    ...common,
    epochs: Math.ceil(total / updatesPerEpoch),
    updates: total,
    batchesRun:
      Math.floor(total / updatesPerEpoch) * perEpoch + lastEpochUpdates * batchesPerUpdate,
    schedule: { total, warmup: total * warmupRatio, warmupStart: 1, stride: 1 },
    noOpShare: 0,
    klCycle: { auto: Math.max(1, Math.round(total / CYCLES_PER_RUN)), epoch, rescaled },
  };
}

export interface EvaluatedRowsOptions {
  readonly rows: number;
  readonly batchSize: number;
  readonly processes?: number;
  readonly tail: 'drop' | 'keep';
}

/**
 * Rows that an evaluation sees: whole rounds of batches where the tail is dropped, ⌊n / (b·P)⌋·b·P.
 */
export function evaluatedRows({
  rows,
  batchSize,
  processes = 1,
  tail,
}: EvaluatedRowsOptions): number {
  const round = batchSize * processes;
  return tail === 'keep' ? rows : Math.floor(rows / round) * round;
}
