/**
 * One job of a table, in a process of its own: its memory is its own, and a crash is its own. The
 * parent's end, or its word, stops it in good order.
 */

import { asBpeftError } from '../errors.ts';
import type { RunContext } from '../run/inputs/context.ts';
import { peakRssMb } from '../run/records/result.ts';
import type { JobMessage, JobRequest } from './job-process.ts';

const controller = new AbortController();
const stop = () => controller.abort();
process.on('disconnect', stop);
// The terminal tells parent and child; the parent passes it on.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => {});

process.on('message', (message: JobRequest) => {
  if (message === 'stop') stop();
  else void work(message);
});

async function work({ command, options }: Exclude<JobRequest, 'stop'>): Promise<void> {
  const context: RunContext = {
    signal: controller.signal,
    onEvent: (event) => tell({ event }),
  };
  try {
    await run(command, options, context);
    tell({ done: { peakRssMb: peakRssMb() } });
  } catch (error) {
    const { code, message, hint } = asBpeftError(error);
    tell({ failed: { code, message, hint: hint ?? null } });
  } finally {
    process.off('disconnect', stop);
    if (process.connected) process.disconnect();
  }
}

async function run(command: string, options: object, context: RunContext): Promise<unknown> {
  switch (command) {
    case 'train':
      return (await import('../run/training/train.ts')).train(options, context);
    case 'eval':
      return (await import('../run/evaluation/evaluate.ts')).evaluate(options, context);
    default:
      return (await import('../run/bayesianize/bayesianize.ts')).bayesianize(options, context);
  }
}

function tell(message: JobMessage): void {
  if (process.connected) process.send?.(message);
}
