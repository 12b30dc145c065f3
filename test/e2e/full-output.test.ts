import { spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { expect, it } from 'vitest';
import { program } from '../support/bpeft-process.ts';

it('fails with a code where standard output is full, and says so once', () => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [program, 'datasets', 'list'], {
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
  });
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /^error BPEFT_IO: cannot write to standard output: ENOSPC.*\n {2}hint: what it held is incomplete.*\n$/,
  );
});

it('fails with a code where standard error is full too', () => {
  const full = openSync('/dev/full', 'w');
  const { status } = spawnSync(process.execPath, [program, 'eval'], {
    stdio: ['ignore', full, full],
  });
  expect(status).toBe(1);
});
