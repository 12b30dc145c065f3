/**
 * Your own logger: a function that receives the run's typed events. This one writes a CSV file with one line per
 * update. A sink is called synchronously and in order; it cannot change the run, and it must not throw.
 *
 * In a checkout, after `npm run setup`, with Node 22.18 or later:   node examples/custom-logger.ts
 */

import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { broadcast, consoleSink, type RunEvent, type Sink, type TrainOptions, train } from 'bpeft';

const SETTINGS: TrainOptions = {
  model: 'builtin:tiny',
  dataset: 'builtin:exam-topics',
  maxSteps: 20,
  evalLimit: 8,
};

type Step = Extract<RunEvent, { type: 'step' }>;

const COLUMNS = [
  'step',
  'nll',
  'kl',
  'klWeight',
  'sigmaMean',
  'accuracy',
  'ms',
] as const satisfies readonly (keyof Step)[];

export function csvSink(path: string): Sink {
  writeFileSync(path, `${COLUMNS.join(',')}\n`);
  return (event) => {
    if (event.type !== 'step') return;
    try {
      appendFileSync(path, `${COLUMNS.map((column) => event[column] ?? '').join(',')}\n`);
    } catch (error) {
      process.emitWarning(`${path}: ${String(error)}`); // a full disk must not end the training
    }
  };
}

/** Trains in `folder` and returns the path of the log. */
export async function trainWithLog(folder: string, settings: TrainOptions = SETTINGS): Promise<string> {
  const log = join(folder, 'steps.csv');
  const onEvent = broadcast(csvSink(log), consoleSink(process.stderr));
  await train({ ...settings, out: join(folder, 'run') }, { onEvent });
  return log;
}

if (process.argv[1] === import.meta.filename) {
  const folder = await mkdtemp(join(tmpdir(), 'bpeft-logger-'));
  try {
    console.log(readFileSync(await trainWithLog(folder), 'utf8'));
  } finally {
    await rm(folder, { recursive: true });
  }
}
