/** Batches of examples: of the next update in training, and of an evaluation. */

import type { EncodedExample } from '../datasets/tokens/encode.ts';
import type { Examples } from '../datasets/tokens/packed-examples.ts';
import { evaluatedRows } from '../protocol/accounting.ts';
import { BatchOrder, type BatchOrderOptions, type Cursor } from './batch-order.ts';
import { type RaggedBatch, raggedBatch } from './ragged-batch.ts';

/** Batches of examples in memory, in the order of training. */
export class DataLoader {
  readonly #order: BatchOrder;
  readonly #examples: readonly EncodedExample[];

  /**
   * @throws {BpeftError} `BPEFT_DATASET` for a row without a label, or fewer rows than one update
   * needs.
   */
  constructor(examples: readonly EncodedExample[], options: BatchOrderOptions) {
    const labels = examples.map(({ label }) => label);
    const rows = examples.map(({ row }) => row);
    this.#order = new BatchOrder({ labels, rows }, options);
    this.#examples = examples;
  }

  get batchesPerEpoch(): number {
    return this.#order.batchesPerEpoch;
  }

  get updatesPerEpoch(): number {
    return this.#order.updatesPerEpoch;
  }

  get cursor(): Cursor {
    return this.#order.cursor;
  }

  /** @throws {BpeftError} `BPEFT_CHECKPOINT` for a cursor that this data cannot have. */
  seek(cursor: Cursor): void {
    this.#order.seek(cursor);
  }

  /** The next update's micro-batches; of each, one batch per member. */
  next(): RaggedBatch[] {
    return this.#order
      .next()
      .map((positions) =>
        raggedBatch(
          Array.from(positions, (at) => this.#examples[at]).filter((row) => row !== undefined),
        ),
      );
  }
}

/** The same from examples that are read when they are needed. */
export function readBatches(
  examples: Examples,
  batches: readonly ArrayLike<number>[],
): Promise<RaggedBatch[]> {
  return Promise.all(batches.map(async (positions) => raggedBatch(await examples.read(positions))));
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
export async function* evaluationBatches(
  examples: readonly EncodedExample[] | Examples,
  { batchSize, tail, processes = 1 }: EvaluationOptions,
): AsyncGenerator<EvaluationBatch, void, undefined> {
  const end = evaluatedRows({ rows: examples.length, batchSize, processes, tail });
  for (let start = 0; start < end; start += batchSize) {
    const length = Math.min(batchSize, end - start);
    const rows =
      'read' in examples
        ? await examples.read(Uint32Array.from({ length }, (_, index) => start + index))
        : examples.slice(start, start + length);
    yield { batch: raggedBatch(rows), examples: rows };
  }
}
