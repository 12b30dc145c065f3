/**
 * Rows packed with gzip (RFC 1952) or zstd (RFC 8878): told by their first bytes, unpacked as a
 * stream, and held against the checksums that they carry.
 */

import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { BpeftError } from '../../errors.ts';
import { datasetError } from '../rows/dataset-error.ts';
import { GZIP, withHead, ZSTD } from './file-formats.ts';
import { unzstd } from './zstd.ts';

type Bytes = AsyncIterable<Uint8Array>;

const PACKERS: readonly (readonly [
  signature: string,
  name: string,
  unpack: (bytes: Bytes) => Bytes,
])[] = [
  [GZIP, 'gzip', gunzipped],
  [ZSTD, 'zstd', unzstd],
];

/**
 * The bytes as they are, or unpacked.
 * @throws {BpeftError} `BPEFT_DATASET`: what is packed is damaged or ends too early
 */
export async function* unpacked(bytes: Bytes, file: string): AsyncGenerator<Uint8Array> {
  const { head, whole } = await withHead(bytes);
  const hex = Buffer.from(head).toString('hex');
  const [, name, unpack] = PACKERS.find(([signature]) => hex.startsWith(signature)) ?? [];
  if (unpack === undefined) {
    yield* whole;
    return;
  }
  try {
    yield* unpack(whole);
  } catch (cause) {
    if (cause instanceof BpeftError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw datasetError(file, `is packed with ${name}, and damaged: ${reason}`, {
      hint: 'copy or download the file again',
      cause,
    });
  }
}

function gunzipped(bytes: Bytes): Bytes {
  return pipeline(Readable.from(bytes), createGunzip(), () => {});
}
