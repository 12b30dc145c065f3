import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Sink } from '../../../ts/events/sinks.ts';
import { tensorboardSink } from '../../../ts/tensorboard/sink.ts';
import { wandbSink } from '../../../ts/wandb/sink.ts';
import { runStarted, stepDone } from '../../support/run-events.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const STEPS = 400;
/** 1 % of a step of 50 ms. */
const LIMIT_MS = 0.5;

it('costs a step of 50 ms less than a hundredth: time on the event loop, all services together', async () => {
  const out = join(temporaryFolder(), 'run');
  const environment = { WANDB_MODE: 'offline', WANDB_SILENT: 'true', WANDB_DIR: out };
  const sinks: readonly Sink[] = [wandbSink({ environment }), tensorboardSink()];
  for (const sink of sinks) await sink.event(runStarted({ out, command: 'eval' }));
  const costs: number[] = [];
  for (let step = 1; step <= STEPS; step += 1) {
    const before = performance.eventLoopUtilization();
    for (const sink of sinks) sink.event(stepDone(step));
    await new Promise((resolve) => setTimeout(resolve, 1)); // the step, in which the writes end
    costs.push(performance.eventLoopUtilization(before).active);
  }
  for (const sink of sinks) await sink.close?.({ status: 'finished' });
  const median = costs.sort((a, b) => a - b)[STEPS / 2] ?? Number.POSITIVE_INFINITY;
  expect(median).toBeLessThan(LIMIT_MS);
});
