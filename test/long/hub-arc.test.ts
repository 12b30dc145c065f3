import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BpeftProcess } from '../support/bpeft-process.ts';
import { arcRepository } from '../support/hub-rows.ts';
import { StandInHub } from '../support/hub-server.ts';
import { randomModel } from '../support/random-model.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** All rows of ARC, in the layout of `--data-dir`; not part of this repository. */
const rows = process.env.BPEFT_DATA ?? join(import.meta.dirname, '../../../shared/data');

it('trains on all of ARC-Easy, by the command that a researcher types', async () => {
  expect(
    existsSync(join(rows, 'arc_easy')),
    `set BPEFT_DATA to a folder with arc_easy/, got ${rows}`,
  ).toBe(true);
  const server = await StandInHub.start();
  try {
    server.publish('HuggingFaceTB/SmolLM2-135M', randomModel());
    server.publishDataset('allenai/ai2_arc', arcRepository(rows));
    const environment = { HF_ENDPOINT: server.url, HF_HUB_CACHE: temporaryFolder(), HF_TOKEN: '' };
    const command =
      'train --model HuggingFaceTB/SmolLM2-135M --dataset allenai/ai2_arc:ARC-Easy --method blob';
    // The small model spells every byte.
    const words = [...command.split(' '), '--max-seq-len', '1500', '--json'];
    const { code, stdout } = await new BpeftProcess(words, { cwd: temporaryFolder(), environment })
      .finished;
    expect(code).toBe(0);
    const { data } = JSON.parse(stdout);
    expect([data.train.rows, data.evaluation[0].rows]).toEqual([2251, 570]);
  } finally {
    await server.stop();
  }
});
