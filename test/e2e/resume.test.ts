import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { BpeftProcess, bpeft, outcome, trainArgs } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

// Steps, evaluations and checkpoints fall on different steps; two passes over the 50 batches
// shuffle twice.
const settings = [
  '--max-steps',
  '80',
  '--checkpoint-every',
  '7',
  '--eval-every',
  '21',
  '--eval-limit',
  '8',
].concat(['--eval-samples', '2', '--lr', '0.001']);

let uninterrupted: Record<string, string>;

beforeAll(async () => {
  const out = mkdtempSync(join(tmpdir(), 'bpeft-whole-'));
  const { code, stderr } = await bpeft(...trainArgs(out, ...settings, '--overwrite'));
  expect([code, stderr]).toEqual([0, expect.stringContaining('done in')]);
  uninterrupted = outcome(out);
});

it.each(['step 2/80', 'step 22/80', 'step 50/80', 'step 66/80'])(
  'is the same run after kill -9 at %s and --resume',
  async (moment) => {
    const out = join(temporaryFolder(), 'run');
    const first = new BpeftProcess(trainArgs(out, ...settings));
    await first.seen(moment);
    first.kill('SIGKILL');
    expect((await first.finished).code).toBeNull();
    expect(existsSync(join(out, 'result.json'))).toBe(false);
    expect(await bpeft('train', '--out', out, '--resume')).toMatchObject({ code: 0 });
    expect(outcome(out)).toEqual(uninterrupted);
  },
);

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'writes a checkpoint on %s, exits with 130 and continues',
  async (signal) => {
    const out = join(temporaryFolder(), 'run');
    const first = new BpeftProcess(
      trainArgs(out, ...settings, '--checkpoint-every', '0', '--json'),
    );
    await first.seen('step 24/80');
    first.kill(signal);
    const { code, stdout } = await first.finished;
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({
      error: {
        code: 'BPEFT_ABORTED',
        message: expect.stringMatching(/^interrupted after step \d+ of 80$/),
      },
    });
    expect(readFileSync(join(out, 'state', 'latest'), 'utf8')).toMatch(/^step-\d+\n$/);
    expect(await bpeft('train', '--out', out, '--resume')).toMatchObject({ code: 0 });
    expect(outcome(out)).toEqual(uninterrupted);
  },
);

it('keeps the previous checkpoint whole when the disk is full, and continues from it', async () => {
  const out = join(temporaryFolder(), 'run');
  const first = new BpeftProcess(trainArgs(out, ...settings));
  await first.seen('step 24/80');
  first.kill('SIGTERM');
  await first.finished;
  const latest = readFileSync(join(out, 'state', 'latest'), 'utf8');
  const full = await new BpeftProcess(['train', '--out', out, '--resume', '--json'], {
    limitFileKb: 40,
  }).finished;
  expect(full.code).toBe(1);
  expect(JSON.parse(full.stdout)).toMatchObject({ error: { code: 'BPEFT_IO' } });
  expect(readFileSync(join(out, 'state', 'latest'), 'utf8')).toBe(latest);
  expect(await bpeft('train', '--out', out, '--resume')).toMatchObject({ code: 0 });
  expect(outcome(out)).toEqual(uninterrupted);
});

it('refuses to resume as another run', async () => {
  const out = join(temporaryFolder(), 'run');
  const first = new BpeftProcess(trainArgs(out, ...settings));
  await first.seen('step 10/80');
  first.kill('SIGTERM');
  await first.finished;
  const other = await bpeft('train', '--out', out, '--resume', '--lr', '0.5', '--json');
  expect(other.code).toBe(2);
  expect(JSON.parse(other.stdout).error.message).toMatch(
    /was started with --lr 0\.001, and cannot be resumed with 0\.5/,
  );
});

it('gives the result of a finished run again without training', async () => {
  const out = join(temporaryFolder(), 'run');
  const args = trainArgs(out, '--max-steps', '5', '--method', 'mle', '--eval-limit', '4');
  const first = await bpeft(...args, '--json');
  const again = await bpeft(...args, '--resume', '--json');
  expect(JSON.parse(again.stdout)).toEqual(JSON.parse(first.stdout));
});

it('writes a lost member of a finished ensemble anew, and refuses without a checkpoint', async () => {
  const out = join(temporaryFolder(), 'run');
  const ensemble = ['--method', 'ensemble', '--members', '2', '--max-steps', '4'];
  const args = trainArgs(out, ...ensemble, '--eval-limit', '4');
  expect(await bpeft(...args)).toMatchObject({ code: 0 });
  const whole = outcome(out);
  const member = join(out, 'adapter', 'adapter_1');
  rmSync(member, { recursive: true });
  expect(await bpeft('train', '--out', out, '--resume')).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/adapter_1.*is gone: the adapter is written anew/),
  });
  expect(outcome(out)).toEqual(whole);
  rmSync(member, { recursive: true });
  rmSync(join(out, 'state'), { recursive: true });
  const refused = await bpeft('train', '--out', out, '--resume', '--json');
  expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'BPEFT_ADAPTER' } });
});
