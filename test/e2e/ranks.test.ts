import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { type BpeftProcess, bpeft, outcome, trainArgs } from '../support/bpeft-process.ts';
import { ended, launched } from '../support/launched.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const STEPS = 40;
// 50 batches of four: the order of the rows begins anew in the middle.
const settings = [
  '--max-steps',
  String(STEPS),
  '--checkpoint-every',
  '7',
  '--eval-every',
  '21',
].concat(['--eval-limit', '8', '--eval-samples', '2', '--lr', '0.001', '--threads', '1']);

/** The same command on two ranks. */
function two(out: string, ...more: string[]): Promise<BpeftProcess[]> {
  const args = trainArgs(out, '--batch-size', '4', ...settings, ...more);
  return launched([args, args]);
}

function steps(run: string): { nll: number; kl: number }[] {
  const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as { type: string; nll: number; kl: number });
  return events.filter(({ type }) => type === 'step').map(({ nll, kl }) => ({ nll, kl }));
}

const close = (run: string) =>
  steps(run).map(({ nll, kl }) => ({ nll: expect.closeTo(nll, 3), kl: expect.closeTo(kl, 0) }));

const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'));

let alone: string;
let together: string;

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bpeft-ranks-'));
  [alone, together] = [join(folder, 'alone'), join(folder, 'together')];
  const one = await bpeft(...trainArgs(alone, '--batch-size', '8', ...settings));
  expect(one).toMatchObject({ code: 0 });
  const [first, second] = await ended(await two(together));
  expect(first).toMatchObject({ code: 0, stderr: expect.stringContaining('done in') });
  expect(second).toEqual({ code: 0, stdout: '', stderr: '' });
});

it('trains by 2 processes of 4 rows as by 1 of 8, and records the effective batch', () => {
  expect(steps(together)).toHaveLength(STEPS);
  expect(steps(together)).toEqual(close(alone));
  const ranks = { size: 2, rows_per_update: 8, summed_by: 'tcp' };
  expect(json(together, 'config.json')).toMatchObject({ ranks, config: { processes: 2 } });
  const [result, expected] = [json(together, 'result.json'), json(alone, 'result.json')];
  expect(result.ranks).toEqual(ranks);
  expect(result.training.tokens).toBe(expected.training.tokens);
  expect(result.metrics.nll).toBeCloseTo(expected.metrics.nll, 3);
  expect(result.evaluations[0].n).toBe(expected.evaluations[0].n);
  expect(json(alone, 'config.json').ranks).toBeUndefined();
});

it('keeps the last update when a rank is killed, and is the same run after --resume', async () => {
  const out = join(temporaryFolder(), 'run');
  const [first, second] = await two(out, '--json');
  await first?.seen(`step 9/${STEPS}`);
  second?.kill('SIGKILL');
  const end = await first?.finished;
  expect(end?.code).toBe(1);
  const { error } = JSON.parse(end?.stdout ?? '');
  expect(error.code).toBe('BPEFT_RANK_LOST');
  expect(error.message).toMatch(/^rank 1 is lost: .* \(the state after step \d+ is kept\)$/);
  const again = ['train', '--out', out, '--resume', '--threads', '1'];
  const ends = await ended(await launched([again, again]));
  expect(ends).toMatchObject([{ code: 0 }, { code: 0 }]);
  expect(outcome(out)).toEqual(outcome(together));
});

it('ends the others when rank 0 is killed, which name the last checkpoint', async () => {
  const out = join(temporaryFolder(), 'run');
  const [first, second] = await two(out);
  await first?.seen(`step 9/${STEPS}`);
  first?.kill('SIGKILL');
  const end = await second?.finished;
  expect(end?.code).toBe(1);
  expect(end?.stderr).toMatch(
    /BPEFT_RANK_LOST: rank 0 is lost: .*\(the state after step (7|14|21|28|35) is kept\)/,
  );
});

it.each([0, 1])(
  'stops all in good order when rank %i is interrupted, and one process goes on',
  async (interrupted) => {
    const out = join(temporaryFolder(), 'run');
    const ranks = await two(out);
    await ranks[0]?.seen(`step 9/${STEPS}`);
    ranks[interrupted]?.kill('SIGINT');
    expect(await ended(ranks)).toMatchObject([{ code: 130 }, { code: 130 }]);
    expect(existsSync(join(out, 'result.json'))).toBe(false);
    expect(await bpeft('train', '--out', out, '--resume')).toMatchObject({ code: 0 });
    expect(steps(out)).toEqual(close(together));
    const ranksNow = { size: 2, rows_per_update: 8, summed_by: null };
    expect(json(out, 'config.json').ranks).toEqual(ranksNow);
  },
);

it('accounts for as many processes as there are in protocol reference', async () => {
  const out = join(temporaryFolder(), 'run');
  const more = ['--protocol', 'reference', '--max-steps', '8'];
  const ends = await ended(await two(out, ...more));
  expect(ends).toMatchObject([{ code: 0 }, { code: 0 }]);
  const emulated = join(temporaryFolder(), 'run');
  const args = trainArgs(emulated, '--batch-size', '4', ...settings, ...more, '--processes', '2');
  expect(await bpeft(...args)).toMatchObject({ code: 0 });
  const [found, expected] = [json(out, 'result.json'), json(emulated, 'result.json')];
  expect(found.training.steps).toBe(expected.training.steps);
  expect(found.training.tokens).toBe(expected.training.tokens);
  expect(found.evaluations[0].n).toBe(expected.evaluations[0].n);
  expect(found.run.processes).toBe(2);
  const rates = (run: string) =>
    readFileSync(join(run, 'metrics.jsonl'), 'utf8').match(/"lr":[^,]+,"kl_lr":[^,]+/g);
  expect(rates(out)).toEqual(rates(emulated));
});

it('refuses another number of processes than there are, on all ranks', async () => {
  const ends = await ended(await two(join(temporaryFolder(), 'run'), '--processes', '3'));
  const message = '--processes must be the number of processes that train, 2, got 3';
  expect(ends[0]).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
  expect(ends[1]?.code).not.toBe(0);
  expect(ends[1]?.stderr).toContain(`rank 0: ${message}`);
});
