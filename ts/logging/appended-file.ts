/** A file that only grows, written in order without making the caller wait. */

import { type FileHandle, open } from 'node:fs/promises';

export class AppendedFile {
  readonly #handle: FileHandle;
  #waiting: Uint8Array[] = [];
  #writing: Promise<void> | null = null;
  #failure: unknown = null;
  readonly #holdMs: number;
  /** Ends the time for which bytes are held. */
  #hurry: () => void = () => undefined;

  private constructor(handle: FileHandle, holdMs = 0) {
    this.#handle = handle;
    this.#holdMs = holdMs;
  }

  /**
   * A new file: one that exists already is an error.
   * @param holdMs bytes wait so long for others, since a write costs more than what it writes
   */
  static async create(path: string, holdMs = 0): Promise<AppendedFile> {
    return new AppendedFile(await open(path, 'ax'), holdMs);
  }

  /** An existing file is continued; after its first `bytes` bytes, where they are given. */
  static async open(path: string, bytes?: number): Promise<AppendedFile> {
    const handle = await open(path, 'a');
    if (bytes !== undefined) await handle.truncate(bytes);
    return new AppendedFile(handle);
  }

  /** @throws what an earlier write failed with */
  append(bytes: Uint8Array): void {
    if (this.#failure !== null) throw this.#failure;
    this.#waiting.push(bytes);
    this.#writing ??= this.#write();
  }

  /** Resolves when all that was appended is on disk. @throws what a write failed with */
  async flush(): Promise<void> {
    this.#hurry();
    await this.#writing;
    if (this.#failure !== null) throw this.#failure;
    await this.#handle.sync();
  }

  /** Resolves when all is on disk. @throws what a write failed with */
  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#handle.close();
    }
  }

  async #hold(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#holdMs);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#hurry = () => undefined;
  }

  async #write(): Promise<void> {
    try {
      if (this.#holdMs > 0) await this.#hold();
      while (this.#waiting.length > 0) {
        const bytes = Buffer.concat(this.#waiting);
        this.#waiting = [];
        for (let from = 0; from < bytes.length; ) {
          from += (await this.#handle.write(bytes, from)).bytesWritten;
        }
      }
    } catch (error) {
      this.#failure = error;
      this.#waiting = [];
    } finally {
      this.#writing = null;
    }
  }
}
