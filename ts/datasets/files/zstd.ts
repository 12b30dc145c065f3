/**
 * zstd (RFC 8878) as a stream. fzstd decodes the blocks; told apart here, and checked, is what it
 * passes over: sizes that a frame claims, and the hash of its content.
 *
 * ```text
 * frame            magic 4 | descriptor 1 | window 0–1 | dictionary 0–4 | length 0–8 | blocks | checksum 0 or 4
 * block            head 3: last, kind, size | content; kind 1, of one byte, is that byte `size` times
 * skippable frame  magic 4 | size 4 | content
 * checksum         the lower half of XXH64(unpacked content), seed 0
 * ```
 */

import { Decompress } from 'fzstd';
import xxhash from 'xxhash-wasm';

type Bytes = AsyncIterable<Uint8Array>;

const MAGIC = 0xfd2f_b528;
const SKIPPABLE = 0x184d_2a50;
/** What the reference program takes without being asked for more. */
const MOST_WINDOW = 1 << 27;
const MOST_BLOCK = 1 << 17;
const REPEATED = 1;

interface FrameHead {
  /** As it came, but without a checksum, which fzstd would wait for. */
  readonly bytes: Uint8Array;
  readonly hasChecksum: boolean;
  /** Of the unpacked content; null: not said. */
  readonly length: bigint | null;
  /** Of what a block unpacks to. */
  readonly mostBlock: number;
}

/** @throws {Error} what is wrong with the bytes */
export async function* unzstd(bytes: Bytes): AsyncGenerator<Uint8Array> {
  const source = new Source(bytes);
  const { create64 } = await xxhash();
  try {
    while (!(await source.isAtEnd())) {
      const magic = await source.take(4);
      const number = uint(magic);
      if ((number & ~0xf) === SKIPPABLE) await source.skip(uint(await source.take(4)));
      else if (number === MAGIC) yield* frame(source, await frameHead(source, magic), create64());
      else throw new Error('what follows a frame is none');
    }
  } finally {
    await source.close();
  }
}

async function frameHead(source: Source, magic: Uint8Array): Promise<FrameHead> {
  const [descriptor = 0] = await source.take(1);
  const isOneSegment = (descriptor & 0x20) !== 0;
  const lengthCode = descriptor >> 6;
  const lengthBytes = lengthCode === 0 ? Number(isOneSegment) : 1 << lengthCode;
  const window = await source.take(isOneSegment ? 0 : 1);
  const dictionary = await source.take([0, 1, 2, 4][descriptor & 3] ?? 0);
  const length = await source.take(lengthBytes);
  if (dictionary.some((byte) => byte !== 0)) throw new Error('it needs a dictionary');
  // A length of two bytes counts from 256.
  const content = lengthBytes === 0 ? null : bigUint(length) + (lengthBytes === 2 ? 256n : 0n);
  const windowBytes = isOneSegment ? content : windowSize(window[0] ?? 0);
  if (windowBytes === null || windowBytes > MOST_WINDOW)
    throw new Error(`it needs a window of ${windowBytes} bytes, and may need ${MOST_WINDOW}`);
  return {
    bytes: Buffer.concat([magic, Uint8Array.of(descriptor & ~4), window, dictionary, length]),
    hasChecksum: (descriptor & 4) !== 0,
    length: content,
    mostBlock: Math.min(MOST_BLOCK, Number(windowBytes)),
  };
}

/** (1 + mantissa / 8)·2^(10 + exponent), of five bits of exponent and three of mantissa. */
function windowSize(byte: number): bigint {
  const base = 1n << BigInt(10 + (byte >> 3));
  return base + (base / 8n) * BigInt(byte & 7);
}

/** One block after another: a few bytes may stand for many, and one block's are few enough. */
async function* frame(
  source: Source,
  { bytes, hasChecksum, length, mostBlock }: FrameHead,
  hash: { update(bytes: Uint8Array): unknown; digest(): bigint },
): AsyncGenerator<Uint8Array> {
  const ready: Uint8Array[] = [];
  const decoder = new Decompress((chunk) => void ready.push(chunk));
  decoder.push(bytes);
  let unpacked = 0;
  for (let isLast = false; !isLast; ) {
    const head = await source.take(3);
    const number = uint(head);
    const size = number >> 3;
    isLast = (number & 1) === 1;
    if (size > mostBlock) throw new Error(`a block has ${size} bytes, and may have ${mostBlock}`);
    const content = await source.take(((number >> 1) & 3) === REPEATED ? 1 : size);
    decoder.push(Buffer.concat([head, content]), isLast);
    for (const chunk of ready.splice(0)) {
      hash.update(chunk);
      unpacked += chunk.length;
      yield chunk;
    }
  }
  if (length !== null && BigInt(unpacked) !== length)
    throw new Error(`a frame unpacks to ${unpacked} bytes, and says ${length}`);
  if (!hasChecksum) return;
  const checksum = uint(await source.take(4));
  if (Number(hash.digest() & 0xffff_ffffn) !== checksum) throw new Error('the checksum differs');
}

/** Bytes by the number that is wanted. */
class Source {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array();

  constructor(bytes: Bytes) {
    this.#iterator = bytes[Symbol.asyncIterator]();
  }

  async isAtEnd(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const next = await this.#iterator.next();
      if (next.done === true) return true;
      this.#chunk = next.value;
    }
    return false;
  }

  async take(length: number): Promise<Uint8Array> {
    const taken = new Uint8Array(length);
    for (let at = 0; at < length; ) at += (await this.#some(length - at, taken, at)).length;
    return taken;
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) left -= (await this.#some(left)).length;
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  /** At most so many of the next bytes. */
  async #some(most: number, into?: Uint8Array, at = 0): Promise<Uint8Array> {
    if (await this.isAtEnd()) throw new Error('it ends too early');
    const some = this.#chunk.subarray(0, most);
    into?.set(some, at);
    this.#chunk = this.#chunk.subarray(some.length);
    return some;
  }
}

function uint(bytes: Uint8Array): number {
  return Number(bigUint(bytes));
}

function bigUint(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}
