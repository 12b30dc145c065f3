import { expect, it } from 'vitest';
import type { StepDone } from '../../../ts/events/run-event.ts';
import { consoleSink } from '../../../ts/logging/console.ts';
import { duration } from '../../../ts/logging/lines.ts';

const step = (number: number, steps: number): StepDone => ({
  type: 'step',
  step: number,
  steps,
  nll: 1.25,
  kl: 300,
  klWeight: 0.5,
  accuracy: 0.5,
  lr: 1e-4,
  klLr: 0.01,
  sigmaMean: 0.002,
  gradNorm: 2,
  tokens: 500,
  ms: 250,
});

function recorded(isTTY: boolean) {
  const written: string[] = [];
  const sink = consoleSink({ isTTY, columns: 200, write: (text: string) => written.push(text) });
  return { sink, written };
}

it('draws a bar with loss, speed and time left on a terminal', () => {
  const { sink, written } = recorded(true);
  sink.event(step(10, 40));
  expect(written.join('')).toBe(
    '\r\u001b[2K[######------------------] step 10/40  nll 1.2500  kl 300  2000 tokens/s  7.5 s left',
  );
});

it('shortens the bar, not the time left, on a narrow terminal', () => {
  const written: string[] = [];
  const sink = consoleSink({ isTTY: true, columns: 70, write: (text: string) => written.push(text) });
  sink.event(step(10, 40));
  expect(written.join('')).toBe(
    '\r\u001b[2K[##-------] step 10/40  nll 1.2500  kl 300  2000 tokens/s  7.5 s left',
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
