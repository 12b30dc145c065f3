import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, type RunEvent, train } from 'bpeft';
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

const locked = '.lock';

/** What a process finds that stood still for long: another one has the folder by now. */
function robbed(folder: string): void {
  const path = join(folder, locked);
  const holder = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...holder, token: 'that of another process' }));
}

const lost = {
  code: 'BPEFT_RUN_EXISTS',
  message: expect.stringContaining('took the lock over while this one stood still'),
};

it.each<[string, (event: RunEvent) => boolean, string[]]>([
  ['checkpoint', ({ type }) => type === 'step', []],
  ['adapter', ({ type }) => type === 'checkpoint', []],
  ['prediction', ({ type }) => type === 'posterior', ['adapter']],
  ['result', ({ type }) => type === 'evaluation', ['adapter', 'predictions']],
])(
  'writes no %s of a training once another process has the folder',
  async (what, isMoment, there) => {
    const out = join(temporaryFolder(), 'run');
    const data = { dataset: 'ARC-Easy', dataDir: fixtureData, maxSeqLen: 700 };
    const run = { ...data, model: 'builtin:random', maxSteps: 1, evalLimit: 4, evalSamples: [0] };
    const onEvent = (event: RunEvent) => {
      if (isMoment(event)) robbed(out);
    };
    await expect(train({ ...run, out }, { onEvent })).rejects.toMatchObject(lost);
    const outcomes = ['adapter', 'predictions', 'result.json'];
    expect(outcomes.filter((name) => existsSync(join(out, name)))).toEqual(there);
    expect(existsSync(join(out, 'state', 'latest'))).toBe(what !== 'checkpoint');
    expect(existsSync(join(out, locked))).toBe(true);
  },
);

it('writes nothing of an evaluation once another process has the folder', async () => {
  const [run, out] = [join(temporaryFolder(), 'run'), join(temporaryFolder(), 'evaluation')];
  expect(await bpeft(...trainArgs(run, ...short))).toMatchObject({ code: 0 });
  const data = { dataDir: fixtureData, limit: 4 };
  for (const [moment, files] of [
    ['run-started', []],
    ['evaluation', ['predictions', 'result.json']],
  ] as const) {
    const onEvent = ({ type }: RunEvent) => {
      if (type === moment) robbed(out);
    };
    const evaluating = evaluate({ ...data, run, out, samples: [0, 4] }, { onEvent });
    await expect(evaluating).rejects.toMatchObject(lost);
    expect(readdirSync(out).toSorted()).toEqual([locked, ...files]);
    rmSync(join(out, locked));
  }
  expect(readdirSync(join(out, 'predictions'))).toHaveLength(1);
});

it('does not pass an old evaluation off as a new one', async () => {
  const out = join(temporaryFolder(), 'run');
  expect(await bpeft(...trainArgs(out, ...short))).toMatchObject({ code: 0 });
  expect(await bpeft('train', '--out', out, '--resume')).toMatchObject({ code: 0 });
  expect(await bpeft('train', '--out', out, '--resume', '--dry-run')).toMatchObject({ code: 0 });
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
