/** What of a run would fit into the memory of a GPU that was full. */

import type { TrainConfig } from '../config/resolve.ts';
import { bytesText } from '../hub/sizes.ts';
import { gpuTraining } from './memory.ts';
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

/** Changes that would help, each with the largest batch that it leaves; the smallest change first. */
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
