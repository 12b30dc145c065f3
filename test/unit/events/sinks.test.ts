import { expect, it, onTestFinished, vi } from 'vitest';
import { BpeftError } from '../../../ts/errors.ts';
import type { RunEvent, Warning } from '../../../ts/events/run-event.ts';
import { broadcast, type Outcome, observed, type Sink, Sinks } from '../../../ts/events/sinks.ts';
import { runStarted } from '../../support/run-events.ts';

const notice = (message: string): Warning => ({ type: 'warning', code: 'BPEFT_NOTICE', message });
const started: RunEvent = runStarted({ command: 'eval' });

/** What a sink hears; process warnings are caught on the way. */
function recorder() {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  onTestFinished(() => warned.mockRestore());
  const heard: string[] = [];
  const closed: Outcome['status'][] = [];
  const sink: Sink = {
    event: (event) => heard.push(event.type === 'warning' ? event.message : event.type),
    close: async ({ status }) => void closed.push(status),
  };
  return { sink, heard, closed, warned };
}

it('goes on past a sink that throws, and tells the others once', () => {
  const { sink, heard, warned } = recorder();
  const broken: Sink = {
    name: 'the meter',
    event: () => {
      throw new Error('no power');
    },
  };
  const all = broadcast(broken, sink);
  all.event(notice('first'));
  all.event(notice('second'));
  const message = 'the meter failed, and the run goes on without it: no power';
  expect(heard).toEqual([message, 'first', 'second']);
  expect(warned.mock.calls).toEqual([[message, { code: 'BPEFT_SINK_FAILED' }]]);
});

it('goes on past a sink whose promise rejects', async () => {
  const { sink, heard, warned } = recorder();
  const all = broadcast(async () => {
    throw new Error('offline');
  }, sink);
  all.event(notice('first'));
  await new Promise(setImmediate);
  all.event(notice('second'));
  await new Promise(setImmediate);
  expect(heard).toEqual([
    'first',
    'onEvent failed, and the run goes on without it: offline',
    'second',
  ]);
  expect(warned).toHaveBeenCalledTimes(1);
});

it('does not lose its way when every sink fails', () => {
  const { warned } = recorder();
  const fails = () => {
    throw new Error('no');
  };
  const all = broadcast(fails, { name: 'other', event: fails });
  expect(() => all.event(notice('x'))).not.toThrow();
  expect(warned).toHaveBeenCalledTimes(2);
});

it('closes every sink with the outcome, past those that fail or never end', async () => {
  const { sink, heard, closed, warned } = recorder();
  const sinks = new Sinks(
    [
      { name: 'endless', event: () => undefined, close: () => new Promise(() => undefined) },
      {
        name: 'broken',
        event: () => undefined,
        close: () => {
          throw new Error('no');
        },
      },
      sink,
    ],
    { closeLimitMs: 20 },
  );
  await sinks.close({ status: 'finished' });
  expect(closed).toEqual(['finished']);
  expect(heard).toEqual([
    'broken failed, and the run goes on without it: no',
    'endless failed, and the run goes on without it: close did not end within 20 ms',
  ]);
  expect(warned).toHaveBeenCalledTimes(2);
});

it('sends run-started first, and what came before it after it', () => {
  const { sink, heard } = recorder();
  const sinks = new Sinks([sink], { areHeldUntilStart: true });
  sinks.event(notice('early'));
  expect(heard).toEqual([]);
  sinks.event(started);
  sinks.event(notice('late'));
  expect(heard).toEqual(['run-started', 'early', 'late']);
});

it.each([
  ['finished', [], () => Promise.resolve(1)],
  ['aborted', ['interrupted'], () => Promise.reject(new BpeftError('BPEFT_ABORTED', 'aborted'))],
  ['failed', ['failed'], () => Promise.reject(new Error('no'))],
] as const)(
  'tells its sink that the work has %s, with what it held back',
  async (status, last, work) => {
    const { sink, heard, closed } = recorder();
    const done = observed(sink, { areHeldUntilStart: true }, (sinks) => {
      sinks.event(notice('early'));
      return work();
    });
    await done.catch(() => undefined);
    expect(heard).toEqual(['early', ...last]);
    expect(closed).toEqual([status]);
  },
);
