/**
 * Your own logger: a sink that receives the run's typed events. This one writes a CSV file with one
 * line per update, and closes it at the end. A sink is called in order and cannot change the run;
 * one that throws is named in a warning, and the run goes on.
 *
 * In a checkout, after `npm run setup`, with Node 22.18 or later:   node examples/custom-logger.ts
 */

import { createWriteStream, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
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
  const file = createWriteStream(path);
  const written = finished(file);
  written.catch(() => undefined); // told by close
  file.write(`${COLUMNS.join(',')}\n`);
  return {
    name: path,
    event: (event) => {
      if (event.type !== 'step') return;
      file.write(`${COLUMNS.map((column) => event[column] ?? '').join(',')}\n`);
    },
    close: () => {
      file.end();
      return written;
    },
  };
}

/** Trains in `folder` and returns the path of the log. */
export async function trainWithLog(
  folder: string,
  settings: TrainOptions = SETTINGS,
): Promise<string> {
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
