import { afterEach, expect, it, vi } from 'vitest';
import { threadCount } from '../../../ts/engine/threads.ts';

afterEach(() => vi.unstubAllEnvs());

it('takes the number asked for, then that of the environment, then one per core', () => {
  vi.stubEnv('BPEFT_NUM_THREADS', '3');
  expect(threadCount(2)).toBe(2);
  expect(threadCount(undefined)).toBe(3);
  vi.stubEnv('BPEFT_NUM_THREADS', '');
  expect(threadCount(undefined)).toBeUndefined();
});

it.each(['0', '-1', '1.5', 'many', '100000'])('refuses BPEFT_NUM_THREADS=%s', (text) => {
  vi.stubEnv('BPEFT_NUM_THREADS', text);
  expect(() => threadCount(undefined)).toThrow(
    `BPEFT_NUM_THREADS must be a whole number from 1 to 1024, got "${text}"`,
  );
});
