/** What an evaluation writes: `result.json` and `predictions/`, and what it may replace. */

import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { io } from './atomic.ts';
import { requireClaim } from './folder-contents.ts';
import { FolderLock, type LockOptions } from './lock.ts';
import { isPredictionFile } from './prediction-files.ts';

export class EvaluationFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get result(): string {
    return join(this.path, 'result.json');
  }
  get predictions(): string {
    return join(this.path, 'predictions');
  }

  /**
   * @throws {BpeftError} `BPEFT_RUN_EXISTS`: a training run, or an evaluation without `overwrite`.
   */
  requireFree(options: { overwrite: boolean }): void {
    requireClaim(this.path, { kind: 'evaluation', ...options });
  }

  /**
   * Makes the folder, keeps others out, and removes an earlier evaluation where that was asked for.
   */
  async open(options: { overwrite: boolean }, lock: LockOptions): Promise<FolderLock> {
    const taken = await FolderLock.take(this.path, lock);
    try {
      this.requireFree(options); // of what may have come in the meantime
      if (options.overwrite) await this.#clear();
      await io(this.path, () => mkdir(this.path, { recursive: true }));
      return taken;
    } catch (error) {
      await taken.release();
      throw error;
    }
  }

  /** Removes what an evaluation has written, file by file. */
  async #clear(): Promise<void> {
    await io(this.path, async () => {
      await rm(this.result, { force: true });
      const names = await readdir(this.predictions).catch(() => []);
      for (const name of names.filter(isPredictionFile)) await rm(join(this.predictions, name));
      if (names.every(isPredictionFile) && names.length > 0) await rmdir(this.predictions);
    });
  }
}
