import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readLoggedSteps } from '../../../../ts/run/records/metrics-log.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const lines = '{"type":"step","step":1,"tokens":3,"ms":1}\n{"type":"evaluation","step":1}\n';

function file(content: string): string {
  const path = join(temporaryFolder(), 'metrics.jsonl');
  writeFileSync(path, content);
  return path;
}

it('reads the steps of the checkpoint and nothing after it', async () => {
  const path = file(`${lines}{"type":"step","step":2}\n`);
  const { steps, lines: all } = await readLoggedSteps(path, lines.length);
  expect(steps.map(({ step }) => step)).toEqual([1]);
  expect(all).toBe(2);
});

it.each([
  ['is shorter than the checkpoint says', lines.slice(0, 20), 'must have'],
  ['holds something else', lines.replace('{', '['), 'line 1 is no JSON'],
])('refuses a file that %s', async (_, content, message) => {
  const path = file(content);
  await expect(readLoggedSteps(path, lines.length)).rejects.toMatchObject({
    code: 'BPEFT_CHECKPOINT',
    message: expect.stringContaining(message),
  });
});
