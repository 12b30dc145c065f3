/** A long row of 32-bit words that is written once and read in pieces: in memory, or in a file. */

import { close, fstat, open, read, write } from 'node:fs';
import { promisify } from 'node:util';
import { BpeftError } from '../../errors.ts';

/** What can be read. */
export interface Words {
  /** From `start` to before `end`. */
  read(start: number, end: number): Promise<Uint32Array>;
}

export class MemoryWords implements Words {
  #words = new Uint32Array(1024);
  #length = 0;

  async append(pieces: readonly Uint32Array[]): Promise<void> {
    const added = pieces.reduce((sum, { length }) => sum + length, 0);
    if (this.#length + added > this.#words.length) {
      const larger = new Uint32Array(Math.ceil(1.5 * (this.#length + added)));
      larger.set(this.#words.subarray(0, this.#length));
      this.#words = larger;
    }
    for (const piece of pieces) {
      this.#words.set(piece, this.#length);
      this.#length += piece.length;
    }
  }

  async read(start: number, end: number): Promise<Uint32Array> {
    return this.#words.subarray(start, end);
  }
}

const BYTES = Uint32Array.BYTES_PER_ELEMENT;

/** So that one system call is enough for a piece. */
const BUFFER_BYTES = 1 << 20;

/**
 * A descriptor is closed when its words are no longer reachable; the file may be unlinked before.
 */
const OPEN = new FinalizationRegistry<number>((descriptor) => close(descriptor, () => undefined));

export class FileWords implements Words {
  readonly #path: string;
  readonly #descriptor: number;
  #length: number;

  private constructor(path: string, descriptor: number, length: number) {
    this.#path = path;
    this.#descriptor = descriptor;
    this.#length = length;
    OPEN.register(this, descriptor);
  }

  /** An empty file of this path. @throws {BpeftError} `BPEFT_IO`. */
  static async create(path: string): Promise<FileWords> {
    return new FileWords(path, await ofFile(path, () => promisify(open)(path, 'wx+', 0o600)), 0);
  }

  static async open(path: string): Promise<FileWords> {
    const descriptor = await ofFile(path, () => promisify(open)(path, 'r'));
    const { size } = await promisify(fstat)(descriptor);
    return new FileWords(path, descriptor, Math.floor(size / BYTES));
  }

  get length(): number {
    return this.#length;
  }

  /** @throws {BpeftError} `BPEFT_IO`, also for a full disk. */
  async append(pieces: readonly Uint32Array[]): Promise<void> {
    const bytes = pieces.map(({ buffer, byteOffset, byteLength }) =>
      Buffer.from(buffer, byteOffset, byteLength),
    );
    const whole = Buffer.concat(bytes);
    await ofFile(this.#path, async () => {
      let position = this.#length * BYTES;
      for (let start = 0; start < whole.length; ) {
        const length = Math.min(BUFFER_BYTES, whole.length - start);
        const { bytesWritten } = await promisify(write)(
          this.#descriptor,
          whole,
          start,
          length,
          position,
        );
        start += bytesWritten;
        position += bytesWritten;
      }
    });
    this.#length += whole.length / BYTES;
  }

  /** @throws {BpeftError} `BPEFT_IO`, also for a file that has become shorter. */
  async read(start: number, end: number): Promise<Uint32Array> {
    const words = new Uint32Array(end - start);
    const bytes = new Uint8Array(words.buffer);
    await ofFile(this.#path, async () => {
      for (let done = 0; done < bytes.length; ) {
        const at = start * BYTES + done;
        const { bytesRead } = await promisify(read)(
          this.#descriptor,
          bytes,
          done,
          bytes.length - done,
          at,
        );
        if (bytesRead === 0) throw new Error('the file has become shorter');
        done += bytesRead;
      }
    });
    return words;
  }
}

async function ofFile<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpeftError('BPEFT_IO', `${path}: ${reason}`, {
      hint: 'BPEFT_HOME names a folder with room for tokens',
      cause,
    });
  }
}
