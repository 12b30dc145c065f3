/** The order of training: which rows make the next update, and what is needed to resume. */

import { BpeftError } from '../errors.ts';
import { permutation } from './shuffle.ts';

export interface BatchOrderOptions {
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

/** Rows as positions among `labels.length`, `rows` their names for messages. */
export interface LabelledRows {
  /** (n) class, −1 = none. */
  readonly labels: ArrayLike<number>;
  /** (n) 0-based line in the split. */
  readonly rows: ArrayLike<number>;
}

/** Endless: one epoch follows the other. The same options and cursor give the same batches. */
export class BatchOrder {
  readonly batchesPerEpoch: number;
  readonly updatesPerEpoch: number;
  readonly #length: number;
  readonly #options: BatchOrderOptions;
  readonly #batchesPerUpdate: number;
  #cursor: Cursor = { epoch: 0, batch: 0 };
  #orders: readonly Uint32Array[];

  /**
   * @throws {BpeftError} `BPEFT_DATASET` for a row without a label, or fewer rows than one update
   * needs.
   */
  constructor({ labels, rows }: LabelledRows, options: BatchOrderOptions) {
    const { batchSize, lastBatch, name = 'dataset' } = options;
    const unlabelled = Array.prototype.findIndex.call(labels, (label: number) => label < 0);
    if (unlabelled >= 0) {
      throw new BpeftError(
        'BPEFT_DATASET',
        `${name}: row ${rows[unlabelled]} has no answer to train on`,
        {
          hint: 'rows without an answer can be evaluated and predicted; leave them out of the training split',
        },
      );
    }
    this.#length = labels.length;
    this.#options = options;
    this.#batchesPerUpdate = options.batchesPerUpdate ?? 1;
    this.batchesPerEpoch = batchCount(this.#length, batchSize, lastBatch);
    this.updatesPerEpoch = batchCount(this.batchesPerEpoch, this.#batchesPerUpdate, lastBatch);
    if (this.updatesPerEpoch === 0) {
      const needed = lastBatch === 'drop' ? batchSize * this.#batchesPerUpdate : 1;
      throw new BpeftError(
        'BPEFT_DATASET',
        `${name}: needs at least ${needed} rows for one update, got ${this.#length}`,
        { hint: 'lower --batch-size or add rows' },
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
    const valid =
      Number.isSafeInteger(epoch) && epoch >= 0 && Number.isSafeInteger(batch) && batch >= 0;
    if (!valid || batch >= ends || batch % this.#batchesPerUpdate !== 0) {
      throw new BpeftError(
        'BPEFT_CHECKPOINT',
        `data cursor must name a batch below ${ends} that begins an update, got epoch ${epoch}, batch ${batch}`,
        {
          hint: 'resume with the data and the batch size of the first run, or start over with --overwrite',
        },
      );
    }
    if (epoch !== this.#cursor.epoch) this.#orders = this.#ordersOf(epoch);
    this.#cursor = { epoch, batch };
  }

  /** Positions of the next update's micro-batches; of each, one batch per member. */
  next(): Uint32Array[] {
    const { batchSize } = this.#options;
    const { batch } = this.#cursor;
    const end = Math.min(batch + this.#batchesPerUpdate, this.batchesPerEpoch);
    const batches: Uint32Array[] = [];
    for (let index = batch; index < end; index += 1) {
      for (const order of this.#orders) {
        batches.push(order.subarray(index * batchSize, (index + 1) * batchSize));
      }
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

  #ordersOf(epoch: number): Uint32Array[] {
    const { members = 1, order, seed } = this.#options;
    const length = this.#length;
    return Array.from({ length: members }, (_, member) =>
      order === 'shuffled'
        ? permutation(length, seed + member, epoch)
        : Uint32Array.from({ length }, (_, index) => index),
    );
  }
}

function batchCount(items: number, size: number, last: 'drop' | 'keep'): number {
  return last === 'drop' ? Math.floor(items / size) : Math.ceil(items / size);
}
