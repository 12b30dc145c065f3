/**
 * Checkpoints: `state/step-N/` appears whole, then `state/latest` names it; two are kept.
 *
 * `cursor.json` and the engine's files are a function of the run's settings and N alone, so that a
 * resumed run's are byte for byte those of an uninterrupted one; what depends on the clock is
 * apart, in `clock.json`.
 */

import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Trainer } from '../../engine/trainer.ts';
import { BpeftError } from '../../errors.ts';
import { io, replaceFile, replaceFolder, replaceJson } from './atomic.ts';

const KEPT = 2;
const count = z.int().nonnegative();

const CursorFile = z.object({
  format: z.literal(1),
  /** Updates done. */
  step: count,
  epoch: count,
  /** Next batch of the epoch. */
  batch: count,
  /** Tokens seen. */
  tokens: count,
  /** The last update whose evaluation, if one was due, is written. */
  evaluated: count,
});

const ClockFile = z.object({
  /** Length of metrics.jsonl, to which a resumed run cuts it. */
  metrics_bytes: count,
  /** Time spent in training so far, over all sessions. */
  seconds: z.number().nonnegative(),
});

export interface Progress {
  readonly step: number;
  readonly epoch: number;
  readonly batch: number;
  readonly tokens: number;
  readonly evaluated: number;
}

export interface Checkpoint {
  readonly folder: string;
  readonly progress: Progress;
  readonly metricsBytes: number;
  readonly seconds: number;
}

/**
 * Writes the checkpoint of `progress.step`. On failure the previous one is whole and still the
 * latest.
 */
export async function writeCheckpoint(
  state: string,
  trainer: Pick<Trainer, 'saveState'>,
  progress: Progress,
  clock: { metricsBytes: number; seconds: number },
): Promise<Checkpoint> {
  const name = `step-${progress.step}`;
  const folder = join(state, name);
  await replaceFolder(folder, async (temporary) => {
    await trainer.saveState(temporary);
    await replaceJson(join(temporary, 'cursor.json'), { format: 1, ...progress });
    await replaceJson(join(temporary, 'clock.json'), {
      metrics_bytes: clock.metricsBytes,
      seconds: clock.seconds,
    });
  });
  await replaceFile(join(state, 'latest'), `${name}\n`);
  await prune(state, progress.step);
  return { folder, progress, ...clock };
}

/**
 * The checkpoint that `state/latest` names; null when none was written yet.
 * @throws {BpeftError} `BPEFT_CHECKPOINT`: it is named but missing or damaged.
 */
export async function latestCheckpoint(state: string): Promise<Checkpoint | null> {
  const name = await readIfPresent(join(state, 'latest'));
  if (name === null) return null;
  const folder = join(state, name.trim());
  if (!/^step-\d+$/.test(name.trim())) {
    throw new BpeftError(
      'BPEFT_CHECKPOINT',
      `${join(state, 'latest')} must name step-N, got ${JSON.stringify(name)}`,
    );
  }
  const { format: _, ...progress } = await parseFile(join(folder, 'cursor.json'), CursorFile);
  const clock = await parseFile(join(folder, 'clock.json'), ClockFile);
  return { folder, progress, metricsBytes: clock.metrics_bytes, seconds: clock.seconds };
}

/** Drops all but the newest checkpoints up to `step`, and what later, undone updates left. */
async function prune(state: string, step: number): Promise<void> {
  await io(state, async () => {
    const steps = (await readdir(state))
      .map((name) => Number(/^step-(\d+)$/.exec(name)?.[1] ?? Number.NaN))
      .filter((number) => !Number.isNaN(number))
      .sort((a, b) => b - a);
    const kept = steps.filter((number) => number <= step).slice(0, KEPT);
    for (const number of steps) {
      if (!kept.includes(number))
        await rm(join(state, `step-${number}`), { recursive: true, force: true });
    }
  });
}

async function readIfPresent(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function parseFile<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpeftError('BPEFT_CHECKPOINT', `${path}: ${reason}`, {
      hint: 'the checkpoint is damaged: start over with --overwrite',
      cause,
    });
  }
}
