/** `state/wandb.json` of a run folder: which W&B run it is, so that `--resume` goes on with it. */

import { readFile } from 'node:fs/promises';
import { z } from 'zod';

const Stored = z.object({ id: z.string().min(1) });

export type StoredRun = z.output<typeof Stored>;

/** Null: there is none, or it is damaged, and a new run begins. */
export async function readStoredRun(path: string): Promise<StoredRun | null> {
  try {
    return Stored.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return null;
  }
}
