/** Parquet, read by a thread of its own, whose memory has a bound. */

import { open } from 'node:fs/promises';
import { io } from '../../run/records/atomic.ts';
import { partsOffThread } from '../../threads/off-thread.ts';
import { datasetError } from '../rows/dataset-error.ts';
import { HEAD_BYTES, requireParquet } from './file-formats.ts';
import type { RawRow } from './jsonl.ts';
import type { ParquetInput } from './parquet-worker.ts';

const MEMORY = { maxOldGenerationSizeMb: 2048 };

/**
 * @throws {BpeftError} `BPEFT_IO`: it cannot be opened; `BPEFT_DATASET`: it is damaged, or no
 * Parquet.
 */
export async function* readParquet(input: ParquetInput): AsyncGenerator<RawRow, void, undefined> {
  const { path } = input;
  requireParquet(await io(path, () => firstBytes(path)), path);
  let row = 0;
  try {
    for await (const rows of partsOffThread<ParquetInput, readonly unknown[]>(
      WORKER,
      input,
      MEMORY,
    )) {
      for (const value of rows) {
        yield { value, row, place: { file: path, line: null, number: row + 1 } };
        row += 1;
      }
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const isTooLarge = /row group holds|ERR_WORKER_OUT_OF_MEMORY|memory limit/.test(
      `${(cause as { code?: string }).code} ${reason}`,
    );
    throw datasetError(path, `cannot be read as Parquet beyond row ${row}: ${reason}`, {
      hint: isTooLarge
        ? 'write it with smaller row groups, in Python: table.to_parquet(path, batch_size=10_000)'
        : 'copy or download the file again',
      cause,
    });
  }
}

async function firstBytes(path: string): Promise<Uint8Array> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read({ buffer: new Uint8Array(HEAD_BYTES) });
  return buffer.subarray(0, bytesRead);
}

const WORKER = 'datasets/files/parquet-worker';
