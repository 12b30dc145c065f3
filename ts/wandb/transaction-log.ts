/**
 * A `.wandb` file: LevelDB's log format with W&B's header and a plain CRC-32.
 *
 * ```text
 * file   = ":W&B" 0xBEE1 (u16, little-endian) version 0 (u8), then blocks of 32,768 bytes;
 *          the header counts in the first
 * chunk  = crc (u32) length (u16) type (u8) payload
 * type   = 1 whole record, 2 first, 3 middle, 4 last part
 * crc    = CRC-32 (IEEE) over type and payload, unmasked (LevelDB: CRC-32C, masked)
 * ```
 *
 * Fewer than 7 bytes at the end of a block are zeros. A reader stops at a chunk that is not whole,
 * so that a log is valid up to its last whole record wherever its writer was killed.
 */

import { crc32 } from 'node:zlib';
import { AppendedFile } from '../logging/appended-file.ts';
import { encodeRecord, type WandbRecord } from './records.ts';

const BLOCK = 32_768;
const CHUNK_HEAD = 7;
const HEADER = Uint8Array.of(0x3a, 0x57, 0x26, 0x42, 0xe1, 0xbe, 0x00);
const TYPE = { whole: 1, first: 2, middle: 3, last: 4 } as const;

export class TransactionLog {
  readonly #file: AppendedFile;
  #length: number;
  #records = 0;

  private constructor(file: AppendedFile) {
    this.#file = file;
    this.#file.append(HEADER);
    this.#length = HEADER.length;
  }

  /** A new file. */
  static async create(path: string): Promise<TransactionLog> {
    return new TransactionLog(await AppendedFile.create(path));
  }

  /**
   * Puts records last, in order; they are handed to the system soon.
   * @throws what an earlier write failed with
   */
  write(records: readonly WandbRecord[]): void {
    const parts: Uint8Array[] = [];
    for (const record of records) {
      this.#records += 1;
      parts.push(...this.#chunks(encodeRecord(record, this.#records)));
    }
    this.#file.append(Buffer.concat(parts));
  }

  /** Resolves when everything written so far is on disk, and closes the file. */
  close(): Promise<void> {
    return this.#file.close();
  }

  #chunks(payload: Uint8Array): Uint8Array[] {
    const parts: Uint8Array[] = [];
    let rest = payload;
    for (let isBegun = false; ; isBegun = true) {
      const room = BLOCK - (this.#length % BLOCK);
      const padding = room < CHUNK_HEAD ? room : 0;
      if (padding > 0) parts.push(new Uint8Array(padding));
      const part = rest.subarray(0, (padding > 0 ? BLOCK : room) - CHUNK_HEAD);
      rest = rest.subarray(part.length);
      const isLast = rest.length === 0;
      parts.push(
        chunk(
          isBegun ? (isLast ? TYPE.last : TYPE.middle) : isLast ? TYPE.whole : TYPE.first,
          part,
        ),
      );
      this.#length += padding + CHUNK_HEAD + part.length;
      if (isLast) return parts;
    }
  }
}

function chunk(type: number, payload: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(CHUNK_HEAD + payload.length);
  bytes[6] = type;
  bytes.set(payload, CHUNK_HEAD);
  bytes.writeUInt32LE(crc32(bytes.subarray(6)), 0);
  bytes.writeUInt16LE(payload.length, 4);
  return bytes;
}
