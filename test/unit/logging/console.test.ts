import { stripVTControlCharacters } from 'node:util';
import { expect, it } from 'vitest';
import type { StepDone } from '../../../ts/events/run-event.ts';
import { consoleSink, warningSink } from '../../../ts/logging/console.ts';
import { finalLines } from '../../../ts/logging/final-table.ts';
import { duration } from '../../../ts/logging/lines.ts';
import { Sparkline } from '../../../ts/logging/sparkline.ts';
import { evaluationDone, runStarted, stepDone } from '../../support/run-events.ts';

const step = (number: number, steps: number): StepDone => stepDone(number, { ...STEP, steps });
const STEP = { nll: 1.25, kl: 300, lr: 1e-4, tokens: 500, ms: 250 } as const;

/** A terminal without the settings of this one. */
function recorded(
  isTTY: boolean,
  columns = 200,
  environment: Readonly<Record<string, string>> = {},
) {
  const written: string[] = [];
  const stream = { isTTY, columns, write: (text: string) => written.push(text) };
  return { sink: consoleSink(stream, { environment: { NO_COLOR: '1', ...environment } }), written };
}

it('draws a bar with loss, speed and time left on a terminal', () => {
  const { sink, written } = recorded(true);
  sink.event(step(10, 40));
  expect(written.join('')).toBe(
    '\r\u001b[2K[######------------------] step 10/40  nll 1.2500  kl 300  2000 tokens/s  7.5 s left  ▁',
  );
});

it('shortens the bar, not the time left, on a narrow terminal', () => {
  const { sink, written } = recorded(true, 75);
  sink.event(step(10, 40));
  expect(written.join('')).toBe(
    '\r\u001b[2K[###--------] step 10/40  nll 1.2500  kl 300  2000 tokens/s  7.5 s left  ▁',
  );
});

it('clears the bar before a warning', () => {
  const { sink, written } = recorded(true);
  sink.event(step(1, 2));
  sink.event({ type: 'warning', code: 'BPEFT_NOTICE', message: 'careful' });
  expect(written.slice(1)).toEqual(['\r\u001b[2K', 'warning BPEFT_NOTICE: careful\n']);
});

it('writes plain lines elsewhere, at most fifty for the steps', () => {
  const { sink, written } = recorded(false);
  for (let number = 1; number <= 1000; number += 1) sink.event(step(number, 1000));
  expect(written.length).toBeLessThanOrEqual(51);
  expect(written[0]).toBe('step 1/1000  nll 1.2500  kl 300  lr 0.0001  2000 tokens/s\n');
  expect(written.at(-1)).toContain('step 1000/1000');
});

it.each([
  [4.25, '4.3 s'],
  [59.97, '1 min 0 s'],
  [179.7, '3 min 0 s'],
  [185, '3 min 5 s'],
  [7800, '2 h 10 min'],
])('says %f seconds as %s', (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});

it.each([
  ['in CI', true, { CI: 'true' }],
  ['on a dumb terminal', true, { TERM: 'dumb' }],
  ['where standard error is no terminal', false, {}],
])('draws no bar and no colours %s', (_, isTTY, environment) => {
  const { sink, written } = recorded(isTTY, 200, { NO_COLOR: '', ...environment });
  for (const event of [runStarted(), step(1, 2), step(2, 2), evaluationDone()]) sink.event(event);
  expect(written.every((line) => line.endsWith('\n'))).toBe(true);
  expect(written.join('')).toBe(stripVTControlCharacters(written.join('')));
});

it('colours bar and warnings, unless NO_COLOR', () => {
  const inColour = (environment: Readonly<Record<string, string>>) => {
    const { sink, written } = recorded(true, 200, environment);
    sink.event(step(1, 2));
    sink.event({ type: 'warning', code: 'BPEFT_NOTICE', message: 'careful' });
    return written.join('').includes('\u001b[33mwarning');
  };
  expect(inColour({ NO_COLOR: '' })).toBe(true);
  expect(inColour({ NO_COLOR: '1' })).toBe(false);
});

it('shows warnings alone to who wants no progress', () => {
  const written: string[] = [];
  const sink = warningSink({ isTTY: true, write: (text: string) => written.push(text) });
  for (const event of [runStarted(), step(1, 2), evaluationDone()]) sink.event(event);
  sink.event({ type: 'warning', code: 'BPEFT_NOTICE', message: 'careful' });
  expect(written).toEqual(['warning BPEFT_NOTICE: careful\n']);
});

it('ends with a table of the final evaluations and the first reliability diagram', () => {
  const { sink, written } = recorded(true);
  const { result } = evaluationDone();
  const events = [
    runStarted(),
    evaluationDone({ isFinal: false }),
    evaluationDone(),
    evaluationDone({ result: { ...result, samples: 0 } }),
    evaluationDone({ result: { ...result, samples: 1, link: 'probit' } }),
    evaluationDone({ result: { ...result, samples: 1, link: 'sample' } }),
  ];
  for (const event of events) sink.event(event);
  written.length = 0;
  sink.event({ type: 'finished', command: 'train', out: 'runs/x', seconds: 2 });
  const lines = written.join('').split('\n');
  expect(lines[0]).toBe('done in 2.0 s: runs/x');
  expect(lines[1]).toContain(
    'rows    ACC ↑    ECE ↓    floor    NLL ↓  Brier ↓    MCC ↑     F1 ↑ macro F1  entropy       MI',
  );
  expect(lines[2]).toMatch(/^arc_easy validation, 10 samples +3 +0\.6667 /);
  expect(lines[3]).toMatch(/^arc_easy validation, point estimate +3 +0\.6667 /);
  expect(lines[4]).toMatch(/^arc_easy validation, closed form +3 +0\.6667 /);
  expect(lines[5]).toMatch(/^arc_easy validation, 1 sample +3 +0\.6667 /);
  expect(lines.slice(6).join('\n')).toContain('█ accuracy, ░ overconfidence');
});

it('gives measures that a narrow terminal has no room for lines of their own', () => {
  const lines = finalLines([evaluationDone().result], 100);
  expect(lines.every((line) => line.length <= 100)).toBe(true);
  const heads = lines
    .filter((line) => line.includes('rows '))
    .map((line) => line.trim().split(/ {2,}/));
  expect(heads).toEqual([
    ['rows', 'ACC ↑', 'ECE ↓', 'floor', 'NLL ↓', 'Brier ↓', 'MCC ↑'],
    ['rows', 'F1 ↑ macro F1', 'entropy', 'MI'],
  ]);
});

it('leaves it to its caller to say how a run failed', () => {
  const { sink, written } = recorded(true);
  sink.event(step(1, 2));
  sink.event({ type: 'failed', code: 'BPEFT_IO', message: 'no' });
  expect(written.slice(1)).toEqual(['\r\u001b[2K']);
});

it('draws a curve of at most its width, the lowest value lowest', () => {
  const curve = new Sparkline(4);
  expect(`${curve}`).toBe('');
  for (const value of [8, 6, 4, 1]) curve.add(value);
  expect(`${curve}`).toBe('█▆▄▁');
  curve.add(Number.NaN);
  for (let value = 0; value < 1000; value += 1) curve.add(value);
  expect(`${curve}`).toBe('▁▃▆█');
});
