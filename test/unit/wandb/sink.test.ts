import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { RunEvent } from '../../../ts/events/run-event.ts';
import { broadcast, type Sink } from '../../../ts/events/sinks.ts';
import { wandbSink } from '../../../ts/wandb/sink.ts';
import { evaluationDone, runStarted, stepDone } from '../../support/run-events.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const EVENTS: readonly RunEvent[] = [runStarted(), stepDone(1), evaluationDone()];

async function log(sink: Sink, events: readonly RunEvent[] = EVENTS): Promise<string[]> {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const isolated = broadcast(sink);
  for (const event of events) isolated.event(event);
  await isolated.close?.({ status: 'finished' });
  const messages = warned.mock.calls.map(([message]) => String(message));
  warned.mockRestore();
  return messages;
}

function offline(
  dir: string,
  more: Readonly<Record<string, string>> = {},
): { sink: Sink; told: string[] } {
  const told: string[] = [];
  const environment = { WANDB_MODE: 'offline', WANDB_DIR: dir, WANDB_RUN_ID: 'a', ...more };
  return { sink: wandbSink({ environment, tell: (message) => told.push(message) }), told };
}

const runs = (dir: string) =>
  readdirSync(join(dir, 'wandb')).filter((name) => name.startsWith('offline'));

it('says how to upload the run, unless WANDB_QUIET or WANDB_SILENT', async () => {
  const dir = temporaryFolder();
  for (const [more, count] of [
    [{}, 1],
    [{ WANDB_QUIET: 'true' }, 0],
    [{ WANDB_SILENT: 'true' }, 0],
  ] as const) {
    const { sink, told } = offline(dir, more);
    expect(await log(sink)).toEqual([]);
    expect(told).toHaveLength(count);
  }
});

it('writes nothing where it is disabled', async () => {
  const dir = temporaryFolder();
  await log(offline(dir, { WANDB_MODE: 'disabled' }).sink);
  expect(readdirSync(dir)).toEqual([]);
});

it('gives two runs of one id and one second a folder each', async () => {
  const dir = temporaryFolder();
  await Promise.all([log(offline(dir).sink), log(offline(dir).sink)]);
  expect(new Set(runs(dir)).size).toBe(2);
});

it('warns once about a folder that cannot be written, and lets the run go on', async () => {
  const dir = temporaryFolder();
  writeFileSync(join(dir, 'wandb'), 'a file');
  const messages = await log(offline(dir).sink, [...EVENTS, stepDone(2), stepDone(3)]);
  expect(messages).toHaveLength(1);
  expect(messages[0]).toContain('Weights & Biases failed, and the run goes on without it');
  expect(messages[0]).toContain(join(dir, 'wandb'));
});

it.skipIf(process.getuid?.() === 0)('warns once where the rights are missing', async () => {
  const dir = temporaryFolder();
  mkdirSync(join(dir, 'wandb'));
  chmodSync(join(dir, 'wandb'), 0o500);
  onTestFinished(() => chmodSync(join(dir, 'wandb'), 0o700));
  expect(await log(offline(dir).sink)).toHaveLength(1);
});

it('keeps time going forwards when the clock is set back', async () => {
  const dir = temporaryFolder();
  const { sink } = offline(dir);
  let clock = Date.now();
  const set = vi.spyOn(Date, 'now').mockImplementation(() => {
    clock -= 3_600_000;
    return clock;
  });
  onTestFinished(() => set.mockRestore());
  await log(sink, [runStarted(), stepDone(1), stepDone(2), stepDone(3)]);
  const [run = ''] = runs(dir);
  const text = readFileSync(join(dir, 'wandb', run, 'run-a.wandb'), 'latin1');
  // To the millisecond: the byte behind a number, a checksum's, may be a digit too.
  const times = [...text.matchAll(/_timestamp\D+(\d+\.\d{3})/g)].map(([, time]) => Number(time));
  expect(times.length).toBeGreaterThanOrEqual(3);
  expect(times).toEqual([...times].sort((a, b) => a - b));
});

it('keeps the id of a run that goes on, and takes another for one that starts anew', async () => {
  const out = temporaryFolder();
  mkdirSync(join(out, 'state'));
  const { told, ...environment } = { told: [] as string[], WANDB_MODE: 'offline' };
  const next = () => wandbSink({ environment, tell: (message) => told.push(message) });
  await log(next(), [runStarted({ out }), stepDone(1)]);
  await log(next(), [runStarted({ out, resumedAt: 1, logged: 1 }), stepDone(2)]);
  await log(next(), [runStarted({ out }), stepDone(1)]);
  const ids = runs(out).map((name) => name.split('-').at(-1));
  const [first, second, third] = told.map((message) => message.split('-').at(-1));
  expect(first).toBe(second);
  expect(third).not.toBe(first);
  expect(new Set(ids)).toEqual(new Set([first, third]));
});
