import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { sweepLayer } from '../../../ts/wandb/sweep.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

function file(text: string): string {
  const path = join(temporaryFolder(), 'config-defaults.yaml');
  writeFileSync(path, text);
  return path;
}

it('takes over the parameters that a sweep chose', async () => {
  const path = file(
    'wandb_version: 1\n\nkl_lr:\n  desc: null\n  value: 0.02\nbatch-size:\n  value: 8\n',
  );
  expect(await sweepLayer({ WANDB_SWEEP_PARAM_PATH: path })).toEqual({
    origin: 'file',
    source: path,
    values: { klLr: 0.02, batchSize: 8 },
  });
});

it('has nothing to say without a sweep', async () => {
  expect(await sweepLayer({})).toBeNull();
});

it.each(['lr: fast', '- lr', '{'])('refuses a file that holds %j', async (text) => {
  await expect(sweepLayer({ WANDB_SWEEP_PARAM_PATH: file(text) })).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    message: expect.stringContaining('WANDB_SWEEP_PARAM_PATH'),
  });
});
