/** What of a run, or of a model, would fit into the memory of a GPU that was full. */

import type { TrainConfig } from '../config/resolve.ts';
import { bytesText } from '../hub/sizes.ts';
import { gpuTraining, gpuWeightBytes, type Weights } from './memory.ts';
import type { ModelShape } from './shape.ts';
import { workOf } from './work.ts';

export interface Room {
  readonly shape: ModelShape;
  /** Of the weights, as they are stored. */
  readonly weightBytes: number;
  /** Of the longest prompt. */
  readonly tokens: number;
  /** That a run may take. */
  readonly bytes: number;
}

/**
 * Changes that would help, each with the largest batch that it leaves; the smallest change first.
 */
const CHANGES: readonly (readonly [flag: string, change: Partial<TrainConfig>])[] = [
  ['', {}],
  ['--checkpointing full', { checkpointing: 'full' }],
  ['--quantize nf4', { quantize: 'nf4' }],
  ['--checkpointing full --quantize nf4', { checkpointing: 'full', quantize: 'nf4' }],
];

/** As a hint; by the equation of `bpeft estimate`. */
export function whatFits(config: TrainConfig, room: Room): string {
  const offers: string[] = [];
  for (const [flag, change] of CHANGES) {
    const isAsked = Object.entries(change).every(
      ([key, value]) => config[key as keyof TrainConfig] === value,
    );
    if (isAsked && flag !== '') continue;
    const rows = largestBatch({ ...config, ...change }, room, flag === '');
    if (rows === 0) continue;
    const batch = rows === config.batchSize ? '' : `--batch-size ${rows}`;
    offers.push([flag, batch].filter((part) => part !== '').join(' '));
    if (rows === config.batchSize) break; // more is not asked for
  }
  const space = `by estimate ${bytesText(room.bytes)} hold`;
  if (offers.length === 0) return `${space} no batch of this model, not even one row in NF4`;
  return `${space} ${offers.join(', or ')}`;
}

/** Arithmetics of the weights, the dearest first. */
const ARITHMETICS: readonly (readonly [flag: string, change: Partial<Weights>])[] = [
  ['--precision bf16', { precision: 'bf16' }],
  ['--quantize nf4', { quantize: 'nf4' }],
];

/** As a hint, of a model that a GPU with so many free bytes could not hold. */
export function whichWeightsFit(own: Weights, bytes: number): string {
  const needed = gpuWeightBytes(own);
  const space = `the weights need ${bytesText(needed)} by estimate, ${bytesText(bytes)} are free`;
  const smaller = ARITHMETICS.map(([flag, change]) => {
    return { flag, needed: gpuWeightBytes({ ...own, ...change }) };
  });
  const fitting = smaller.filter((one) => one.needed < Math.min(needed, bytes));
  if (fitting.length === 0) return `${space}, and too few even for NF4`;
  const offers = fitting.map((one) => `${one.flag} needs ${bytesText(one.needed)}`);
  return `${space}; ${offers.join(', ')}`;
}

/** 0: none; `isSmaller`: than the one that did not fit. */
function largestBatch(config: TrainConfig, room: Room, isSmaller: boolean): number {
  const { shape, tokens, weightBytes, bytes } = room;
  const about = { tokens, weightBytes, threads: 1 };
  for (let rows = config.batchSize - Number(isSmaller); rows > 0; rows -= 1) {
    const { total } = gpuTraining(workOf({ ...config, batchSize: rows }, shape, about));
    if (total.expected <= bytes) return rows;
  }
  return 0;
}
