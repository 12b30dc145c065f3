import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BpeftProcess, trainArgs } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const short = ['--method', 'mle', '--max-steps', '1', '--eval-limit', '4'];

it('keeps progress from who wants none, and no warning', async () => {
  const out = join(temporaryFolder(), 'run');
  const quiet = [...trainArgs(out, ...short), '--quiet'];
  expect(await new BpeftProcess(quiet).finished).toEqual({ code: 0, stdout: '', stderr: '' });

  // W&B without a key: the run is kept offline.
  const environment = { WANDB_MODE: 'online', WANDB_API_KEY: '', HOME: temporaryFolder() };
  const { code, stderr } = await new BpeftProcess([...quiet, '--overwrite'], { environment })
    .finished;
  expect([code, stderr]).toEqual([
    0,
    expect.stringMatching(/^warning \w+: .*no API key.*wandb sync .*\n$/),
  ]);
  expect(existsSync(join(out, 'wandb'))).toBe(true);

  const evaluation = ['eval', '--run', out, '--limit', '4', '--quiet'];
  const { stdout, stderr: told } = await new BpeftProcess(evaluation).finished;
  expect([stdout, told]).toEqual([
    '',
    expect.stringMatching(/^ARC-Easy validation \(4 rows, point/),
  ]);
});
