import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpeftError, compare, demo, type RunEvent } from 'bpeft';
import { expect, it } from 'vitest';
import { temporaryFolder } from '../support/temporary-folder.ts';

// The whole demonstration is run in test/long.

/** Runs the demonstration until `isEnough`; returns what it saw and how it ended. */
async function demoUntil(out: string, isEnough: (event: RunEvent) => boolean) {
  const controller = new AbortController();
  const events: RunEvent[] = [];
  const onEvent = (event: RunEvent) => {
    events.push(event);
    if (isEnough(event)) controller.abort();
  };
  const error = await demo({ out }, { signal: controller.signal, onEvent }).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return { events, error };
}

it('goes on where it was stopped', async () => {
  const out = join(temporaryFolder(), 'demo');
  const first = await demoUntil(out, (event) => event.type === 'step' && event.step === 3);
  expect(first.error).toBeInstanceOf(BpeftError);
  expect(first.error).toMatchObject({ code: 'BPEFT_ABORTED', hint: 'run the demo again to go on' });
  expect(readdirSync(join(out, 'mle'))).toContain('state');
  const second = await demoUntil(out, (event) => event.type === 'step');
  const steps = second.events.flatMap((event) => (event.type === 'step' ? [event.step] : []));
  expect(second.events[0]).toMatchObject({ type: 'run-started', method: 'mle', resumedAt: 3 });
  expect(steps[0]).toBe(4);
});

it('refuses a folder that holds other runs, with the way out', async () => {
  const out = join(temporaryFolder(), 'demo');
  await demoUntil(out, (event) => event.type === 'step');
  await expect(demo({ out, seed: 2 })).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    message: expect.stringContaining('seed'),
    hint: 'give another out, or overwrite: true',
  });
});

it('puts no runs among the files of one, as compare does not', async () => {
  const out = temporaryFolder();
  writeFileSync(join(out, 'config.json'), '{"format":1}');
  const table = join(temporaryFolder(), 'table.yaml');
  writeFileSync(
    table,
    'model: builtin:random\ndataset: [builtin:exam-topics]\nseed: [1]\nmethods:\n  mle:\n',
  );
  for (const refused of [demo({ out }), compare({ config: table, out })]) {
    await expect(refused).rejects.toMatchObject({
      code: 'BPEFT_RUN_EXISTS',
      message: expect.stringContaining('holds a run'),
    });
  }
  expect(readdirSync(out)).toEqual(['config.json']);
});
