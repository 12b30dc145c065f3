import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compare } from 'bpeft';
import { expect, it } from 'vitest';
import { fromFileJson } from '../../ts/run/records/json.ts';
import { BpeftProcess, bpeft } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const TABLE = `
model: builtin:random
dataset: builtin:exam-topics
seed: [1, 2]
samples: [2, 0]
split: [test, shift]
temperature: fit
eval_limit: 20
max_seq_len: 700
max_steps: 30
checkpoint_every: 5
lr: 0.003
methods:
  mle:
  blob: { kl_lr: 0.0075 }
  tfb: { from: mle, anchors: 12, tolerance: 0.5, iterations: 2 }
`;

function written(text: string): { config: string; folder: string } {
  const folder = temporaryFolder();
  const config = join(folder, 'table.yaml');
  writeFileSync(config, text);
  return { config, folder };
}

interface Cell {
  readonly method: string;
  readonly split: string;
  readonly samples: number;
  readonly seeds: number;
  readonly temperature: number | null;
  readonly metrics: { readonly nll: { readonly mean: number; readonly sd: number } };
  readonly difference: { readonly nll: { readonly value: number; readonly lower: number } } | null;
  readonly msPerRow: number;
  readonly peakRssMb: number;
}

/** What does not depend on the clock. */
const measured = (stdout: string) =>
  (fromFileJson(stdout) as { cells: Cell[] }).cells.map(
    ({ msPerRow: _, peakRssMb: __, ...cell }) => cell,
  );

it('compares methods over seeds, raw and scaled, and goes on after kill -9 as if nothing had been', async () => {
  const { config, folder } = written(TABLE);
  const whole = await bpeft(
    'compare',
    '--config',
    config,
    '--out',
    join(folder, 'whole'),
    '--json',
  );
  expect([whole.code, whole.stderr]).toEqual([
    0,
    expect.stringContaining('[6/6] builtin:exam-topics · tfb'),
  ]);
  const { cells } = fromFileJson(whole.stdout) as { cells: Cell[] };
  const keys = cells.map(({ method, split, samples, temperature }) =>
    [method, split, samples, temperature === null ? 'raw' : 'scaled'].join(' '),
  );
  expect(new Set(keys).size).toBe(keys.length);
  // A point has one answer, a posterior two: with samples, and its mean; each raw and scaled, on
  // two splits.
  expect(keys.length).toBe((1 + 2 + 2) * 2 * 2);
  for (const cell of cells) {
    expect(cell.seeds).toBe(2);
    expect(cell.metrics.nll.sd).toBeGreaterThan(0);
    expect(cell.msPerRow).toBeGreaterThan(0);
    expect(cell.peakRssMb).toBeGreaterThan(50);
    expect(cell.difference === null).toBe(cell.method === 'mle');
  }
  const at = (method: string) =>
    cells.find(
      (cell) => cell.method === method && cell.split === 'test' && cell.temperature === null,
    );
  const minus = (at('blob')?.metrics.nll.mean ?? 0) - (at('mle')?.metrics.nll.mean ?? 0);
  expect(at('blob')?.difference?.nll.value).toBeCloseTo(minus, 10);

  const out = join(folder, 'killed');
  const first = new BpeftProcess(['compare', '--config', config, '--out', out]);
  await first.seen('[4/6]');
  first.kill('SIGKILL');
  await first.finished;
  const again = await bpeft('compare', '--config', config, '--out', out, '--json');
  expect(again.code).toBe(0);
  expect(again.stderr).not.toContain('[1/6]');
  expect(measured(again.stdout)).toEqual(measured(whole.stdout));
  expect(readFileSync(join(out, 'table.md'), 'utf8')).toContain('| tfb | 2 |');
  expect(readFileSync(join(out, 'table.csv'), 'utf8')).toContain(
    'blob,builtin:random,builtin:exam-topics,test',
  );

  const third = await bpeft('compare', '--config', config, '--out', out, '--json');
  expect([third.stderr, measured(third.stdout)]).toEqual(['', measured(whole.stdout)]);
  writeFileSync(config, TABLE.replace('lr: 0.003', 'lr: 0.004'));
  const changed = await bpeft('compare', '--config', config, '--out', out);
  expect([changed.code, changed.stderr]).toEqual([
    2,
    expect.stringContaining('mle-seed1 is done with lr 0.003, and the table has 0.004 now'),
  ]);
});

it('stops after a checkpoint, and says how to go on', async () => {
  const { config, folder } = written(TABLE.replace('max_steps: 30', 'max_steps: 100000'));
  const out = join(folder, 'out');
  const process = new BpeftProcess(['compare', '--config', config, '--out', out]);
  await process.seen('[1/6]');
  const log = join(out, 'builtin-exam-topics/mle-seed1/log.txt');
  await expect.poll(() => readIfThere(log), { timeout: 20_000 }).toContain('checkpoint of step');
  process.kill('SIGINT');
  const { code, stderr } = await process.finished;
  expect([code, stderr]).toEqual([130, expect.stringContaining('stopped after 0 of 6 cells')]);
  expect(stderr).toContain('the same command goes on from here');
});

it.each(['table.md', 'table.csv', 'table.json'])('replaces no %s of others', async (name) => {
  const { config, folder } = written(TABLE);
  writeFileSync(join(folder, name), '{"format": 1}');
  await expect(compare({ config, out: folder })).rejects.toMatchObject({
    code: 'BPEFT_RUN_EXISTS',
    message: `${join(folder, name)} is no table of bpeft's, and is not replaced`,
  });
  expect(readFileSync(join(folder, name), 'utf8')).toBe('{"format": 1}');
});

it('tells a listener once, and with its folder, how a run failed', async () => {
  const { config, folder } = written(TABLE.replace('builtin:exam-topics', './not-there.jsonl'));
  const failures: string[] = [];
  const listening = compare(
    { config, out: join(folder, 'out') },
    { onEvent: (event) => event.type === 'failed' && failures.push(event.message) },
  );
  await expect(listening).rejects.toThrow('not-there.jsonl');
  expect(failures).toEqual([expect.stringMatching(/mle-seed1: .*not-there\.jsonl/)]);
});

it('goes on behind a cell that fails, writes the table of the others, and says which', async () => {
  const short = TABLE.replace('max_steps: 30', 'max_steps: 2').replace('[1, 2]', '[1]');
  const { config, folder } = written(
    `${short.slice(0, short.indexOf('methods:'))}methods:
  ensemble: { members: 2 }
  laplace: { from: ensemble }
  mle:
`,
  );
  const out = join(folder, 'out');
  const running = compare({ config, out });
  await expect(running).rejects.toMatchObject({
    message: expect.stringMatching(/^1 of 3 cells failed: .*laplace-seed1: .*2 members/),
  });
  const { cells } = JSON.parse(readFileSync(join(out, 'table.json'), 'utf8'));
  expect(new Set(cells.map(({ method }: { method: string }) => method))).toEqual(
    new Set(['ensemble', 'mle']),
  );
});

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

it.each([
  [
    'a setting of another method',
    'mle:\n',
    'mle: { kl_lr: 0.1 }\n',
    'kl_lr is a setting of method blob',
  ],
  ['an unknown setting', 'lr: 0.003', 'lrate: 0.003', 'unknown setting "lrate"'],
  [
    'a row made of a missing one',
    'from: mle',
    'from: map',
    'from must name a row that trains, got map',
  ],
  ['a method after training without from', 'from: mle, ', '', 'method tfb needs from'],
  ['from for a method that trains', 'kl_lr: 0.0075', 'from: mle', 'trains its own adapters'],
  ['a method that is not known', 'blob: {', 'blib: {', 'blib'],
  ['a seed twice', '[1, 2]', '[1, 1]', 'seed must name each once'],
  ['no methods', TABLE.slice(TABLE.indexOf('methods:')), 'methods: {}', 'at least one method'],
])('refuses %s before anything runs', async (_, good, bad, message) => {
  const { config, folder } = written(TABLE.replace(good, bad));
  const { code, stderr } = await bpeft('compare', '--config', config, '--out', join(folder, 'out'));
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  expect(stderr).not.toContain('[1/');
});
