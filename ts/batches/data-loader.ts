/** The order of training, as batches of the next update; and the batches of an evaluation. */

import type { EncodedExample } from '../datasets/tokens/encode.ts';
import { BpeftError } from '../errors.ts';
import { type RaggedBatch, raggedBatch } from './ragged-batch.ts';
import { permutation } from './shuffle.ts';

export interface DataLoaderOptions {
  readonly batchSize: number;
  readonly seed: number;
  /** As in the file, or shuffled by (seed, epoch). */
  readonly order: 'file' | 'shuffled';
  /** What becomes of an incomplete last batch, and of an incomplete last round of batches. */
  readonly lastBatch: 'drop' | 'keep';
  /** Micro-batches of one update: processes × gradient accumulation. */
  readonly batchesPerUpdate?: number;
  /** Of an ensemble: member j sees the rows in the order of seed + j. */
  readonly members?: number;
  /** The dataset, for error messages. */
  readonly name?: string;
}

/** What comes next; enough to resume. */
export interface Cursor {
  /** From 0. */
  readonly epoch: number;
  /** Micro-batch within the epoch, from 0. */
  readonly batch: number;
}

/** Endless: one epoch follows the other. The same options and cursor give the same batches. */
export class DataLoader {
  readonly batchesPerEpoch: number;
  readonly updatesPerEpoch: number;
  readonly #examples: readonly EncodedExample[];
  readonly #options: DataLoaderOptions;
  readonly #batchesPerUpdate: number;
  #cursor: Cursor = { epoch: 0, batch: 0 };
  #orders: readonly Uint32Array[];

  /** @throws {BpeftError} `BPEFT_DATASET` for a row without a label, or fewer rows than one update needs. */
  constructor(examples: readonly EncodedExample[], options: DataLoaderOptions) {
    const { batchSize, lastBatch, name = 'dataset' } = options;
    const unlabelled = examples.find(({ label }) => label < 0);
    if (unlabelled !== undefined) {
      throw new BpeftError('BPEFT_DATASET', `${name}: row ${unlabelled.row} has no answer to train on`, {
        hint: 'rows without an answer can be evaluated and predicted; leave them out of the training split',
      });
    }
    this.#examples = examples;
    this.#options = options;
    this.#batchesPerUpdate = options.batchesPerUpdate ?? 1;
    this.batchesPerEpoch = batchCount(examples.length, batchSize, lastBatch);
    this.updatesPerEpoch = batchCount(this.batchesPerEpoch, this.#batchesPerUpdate, lastBatch);
    if (this.updatesPerEpoch === 0) {
      const needed = lastBatch === 'drop' ? batchSize * this.#batchesPerUpdate : 1;
      throw new BpeftError(
        'BPEFT_DATASET',
        `${name}: needs at least ${needed} rows for one update, got ${examples.length}`,
        {
          hint: 'lower --batch-size or add rows',
        },
      );
    }
    this.#orders = this.#ordersOf(0);
  }

  get cursor(): Cursor {
    return this.#cursor;
  }

  /** @throws {BpeftError} `BPEFT_CHECKPOINT` for a cursor that this data cannot have. */
  seek(cursor: Cursor): void {
    const { epoch, batch } = cursor;
    const ends = this.updatesPerEpoch * this.#batchesPerUpdate;
    const valid = Number.isSafeInteger(epoch) && epoch >= 0 && Number.isSafeInteger(batch) && batch >= 0;
    if (!valid || batch >= ends || batch % this.#batchesPerUpdate !== 0) {
      throw new BpeftError(
        'BPEFT_CHECKPOINT',
        `data cursor must name a batch below ${ends} that begins an update, got epoch ${epoch}, batch ${batch}`,
        { hint: 'resume with the data and the batch size of the first run, or start over with --overwrite' },
      );
    }
    if (epoch !== this.#cursor.epoch) this.#orders = this.#ordersOf(epoch);
    this.#cursor = { epoch, batch };
  }

  /** The next update's micro-batches; of each, one batch per member. */
  next(): RaggedBatch[] {
    const { batch } = this.#cursor;
    const end = Math.min(batch + this.#batchesPerUpdate, this.batchesPerEpoch);
    const batches: RaggedBatch[] = [];
    for (let index = batch; index < end; index += 1) {
      for (const order of this.#orders) batches.push(raggedBatch(this.#rowsOf(index, order)));
    }
    this.#advance(batch + this.#batchesPerUpdate);
    return batches;
  }

  #advance(batch: number): void {
    if (batch < this.updatesPerEpoch * this.#batchesPerUpdate) {
      this.#cursor = { epoch: this.#cursor.epoch, batch };
      return;
    }
    const epoch = this.#cursor.epoch + 1;
    this.#cursor = { epoch, batch: 0 };
    this.#orders = this.#ordersOf(epoch);
  }

  #rowsOf(batch: number, order: Uint32Array): EncodedExample[] {
    const { batchSize } = this.#options;
    const positions = order.subarray(batch * batchSize, (batch + 1) * batchSize);
    return Array.from(positions, (position) => this.#examples[position]).filter((row) => row !== undefined);
  }

  #ordersOf(epoch: number): Uint32Array[] {
    const { members = 1, order, seed } = this.#options;
    const { length } = this.#examples;
    return Array.from({ length: members }, (_, member) =>
      order === 'shuffled'
        ? permutation(length, seed + member, epoch)
        : Uint32Array.from({ length }, (_, index) => index),
    );
  }
}

export interface EvaluationOptions {
  readonly batchSize: number;
  /** Whether an incomplete last batch (with several processes: round of batches) is evaluated. */
  readonly tail: 'drop' | 'keep';
  /** Processes of the reference; matters only where the tail is dropped. */
  readonly processes?: number;
}

export interface EvaluationBatch {
  readonly batch: RaggedBatch;
  readonly examples: readonly EncodedExample[];
}

/** The rows in file order. */
export function* evaluationBatches(
  examples: readonly EncodedExample[],
  { batchSize, tail, processes = 1 }: EvaluationOptions,
): Generator<EvaluationBatch, void, undefined> {
  const round = batchSize * processes;
  const end = tail === 'drop' ? Math.floor(examples.length / round) * round : examples.length;
  for (let start = 0; start < end; start += batchSize) {
    const rows = examples.slice(start, start + batchSize);
    yield { batch: raggedBatch(rows), examples: rows };
  }
}

function batchCount(items: number, size: number, last: 'drop' | 'keep'): number {
  return last === 'drop' ? Math.floor(items / size) : Math.ceil(items / size);
}
