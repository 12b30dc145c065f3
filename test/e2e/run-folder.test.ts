import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BpeftProcess, bpeft, fixtureData, trainArgs } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const short = ['--max-steps', '2', '--eval-limit', '4', '--eval-samples', '0'];

it('keeps a second process out of a folder that one is writing to', async () => {
  const out = join(temporaryFolder(), 'run');
  const first = new BpeftProcess(trainArgs(out, '--max-steps', '3000', '--eval-limit', '4'));
  await first.seen('/3000');
  const second = await bpeft(...trainArgs(out, ...short, '--overwrite', '--json', '--quiet'));
  expect(second.code).toBe(2);
  expect(JSON.parse(second.stdout)).toMatchObject({ error: { code: 'BPEFT_RUN_EXISTS' } });
  first.kill('SIGTERM');
  expect((await first.finished).code).toBe(130);
  expect(existsSync(join(out, '.lock'))).toBe(false);
});

it('takes over the lock of a process that has died', async () => {
  const out = join(temporaryFolder(), 'run');
  const killed = new BpeftProcess(trainArgs(out, '--max-steps', '3000', '--eval-limit', '4'));
  await killed.seen('/3000');
  killed.kill('SIGKILL');
  await killed.finished;
  expect(existsSync(join(out, '.lock'))).toBe(true);
  const next = await bpeft(...trainArgs(out, ...short, '--overwrite'));
  expect(next).toMatchObject({ code: 0, stderr: expect.stringContaining('took over the lock') });
});

it('does not pass an old evaluation off as a new one', async () => {
  const out = join(temporaryFolder(), 'run');
  expect(await bpeft(...trainArgs(out, ...short))).toMatchObject({ code: 0 });
  expect(await bpeft('train', '--out', out, '--resume')).toMatchObject({ code: 0 });
  const { code, stderr } = await bpeft('train', '--out', out, '--resume', '--eval-samples', '5');
  expect([code, stderr]).toEqual([2, expect.stringContaining('bpeft eval --run')]);
});

it('refuses to evaluate two datasets of one name, whose results could not be told apart', async () => {
  const [here, there] = [join(temporaryFolder(), 'own'), join(temporaryFolder(), 'own')];
  for (const folder of [here, there])
    cpSync(join(fixtureData, 'arc_easy'), folder, { recursive: true });
  const out = join(temporaryFolder(), 'run');
  const { code, stderr } = await bpeft(
    ...trainArgs(out, ...short, '--eval-dataset', `${here},${there}`),
  );
  expect([code, stderr]).toEqual([2, expect.stringContaining('own validation twice')]);
});
