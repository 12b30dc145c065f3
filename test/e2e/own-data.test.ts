import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bpeft } from '../support/bpeft-process.ts';

const root = mkdtempSync(join(tmpdir(), 'bpeft-'));
const data = join(root, 'mood');
const run = join(root, 'run');
const train = [
  ...['train', '--model', 'builtin:random', '--dataset', data, '--quiet', '--json'],
  ...['--max-steps', '2', '--eval-samples', '1'],
];

beforeAll(async () => {
  mkdirSync(data);
  const rows = ['good', 'bad', 'mixed', 'good'].map((label, index) => ({ text: `text ${index}`, label }));
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  for (const split of ['train', 'validation']) writeFileSync(join(data, `${split}.jsonl`), lines);
  expect((await bpeft(...train, '--out', run, '--sigma', 'softplus', '--rank', '4')).code).toBe(0);
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

it('answers classification by the names of the classes', async () => {
  const input = join(root, 'input.jsonl');
  writeFileSync(input, '{"text":"fine"}\n');
  const { code, stdout } = await bpeft('predict', '--run', run, '--samples', '1', input);
  const answer = JSON.parse(stdout) as { labels: string[]; prediction: string };
  expect(code).toBe(0);
  expect(answer.labels).toEqual(['bad', 'good', 'mixed']);
  expect(answer.labels).toContain(answer.prediction);
});

it.each([
  [['--sigma', 'square', '--rank', '4'], '--sigma must be that of --init-adapter, softplus, got square'],
  [['--sigma', 'softplus'], '--rank must be that of --init-adapter, 4, got 8'],
])('refuses to start from an adapter with %j where the adapter differs', async (flags, message) => {
  const out = join(root, 'refused');
  const { code, stdout } = await bpeft(
    ...[...train, '--out', out, '--init-adapter', join(run, 'adapter'), ...flags],
  );
  expect([code, JSON.parse(stdout).error.message]).toEqual([2, message]);
});

it('goes on from an adapter with its own settings', async () => {
  const out = join(root, 'further');
  const flags = ['--init-adapter', join(run, 'adapter'), '--sigma', 'softplus', '--rank', '4'];
  expect((await bpeft(...train, '--out', out, ...flags)).code).toBe(0);
  expect(JSON.parse(readFileSync(join(out, 'adapter/adapter_config.json'), 'utf8')).r).toBe(4);
});
