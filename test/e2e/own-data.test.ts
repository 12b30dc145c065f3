import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bpeft } from '../support/bpeft-process.ts';

const root = mkdtempSync(join(tmpdir(), 'bpeft-'));
const data = join(root, 'mood');
const run = join(root, 'run');
const input = join(root, 'input.jsonl');
const train = [
  ...['train', '--model', 'builtin:random', '--dataset', data, '--quiet', '--json'],
  ...['--max-steps', '2', '--eval-samples', '1'],
];

const own = ['--sigma', 'softplus', '--rank', '4', '--lora-dropout', '0.1'];

beforeAll(async () => {
  mkdirSync(data);
  writeFileSync(input, '{"text":"fine"}\n');
  const rows = ['good', 'bad', 'mixed', 'good'].map((label, index) => ({
    text: `text ${index}`,
    label,
  }));
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  for (const split of ['train', 'validation']) writeFileSync(join(data, `${split}.jsonl`), lines);
  expect((await bpeft(...train, '--out', run, ...own)).code).toBe(0);
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

it('answers classification by the names of the classes', async () => {
  const { code, stdout } = await bpeft('predict', '--run', run, '--samples', '1', input);
  const answer = JSON.parse(stdout) as { labels: string[]; prediction: string };
  expect(code).toBe(0);
  expect(answer.labels).toEqual(['bad', 'good', 'mixed']);
  expect(answer.labels).toContain(answer.prediction);
  const table = join(root, 'input.csv');
  writeFileSync(table, 'text\nfine\n');
  expect((await bpeft('predict', '--run', run, '--samples', '1', table)).stdout).toBe(stdout);
});

it.each([
  [['--sigma', 'square'], '--sigma must be that of --init-adapter, softplus, got square'],
  [['--rank', '8'], '--rank must be that of --init-adapter, 4, got 8'],
  [['--lora-dropout', '0'], '--lora-dropout must be that of --init-adapter, 0.1, got 0'],
])('refuses to start from an adapter with %j where the adapter differs', async (flags, message) => {
  const out = join(root, 'refused');
  const { code, stdout } = await bpeft(
    ...[...train, '--out', out, '--init-adapter', join(run, 'adapter'), ...own, ...flags],
    // too few for any prompt: the adapter is looked at before the rows are tokenised
    ...['--max-seq-len', '8'],
  );
  expect([code, JSON.parse(stdout).error.message]).toEqual([2, message]);
});

it('goes on from an adapter with its own settings', async () => {
  const out = join(root, 'further');
  const flags = ['--init-adapter', join(run, 'adapter'), ...own];
  expect((await bpeft(...train, '--out', out, ...flags)).code).toBe(0);
  const config = JSON.parse(readFileSync(join(out, 'adapter/adapter_config.json'), 'utf8'));
  expect(config).toMatchObject({ r: 4, lora_dropout: 0.1 });
});

it.each(['eval', 'predict'])(
  'lets %s sample no more places than the model has',
  async (command) => {
    const args = [
      command,
      '--run',
      run,
      '--samples',
      '2',
      ...(command === 'predict' ? [input] : []),
    ];
    const { code, stderr } = await bpeft(...args, '--stochastic-layers', 'last:4');
    expect(code).toBe(2);
    expect(stderr).toContain(
      '--stochastic-layers last:4: the model has 3 places, 2 layers and the head',
    );
    const json = async (layers: string) => {
      const { stdout } = await bpeft(...args, '--stochastic-layers', layers, '--json', '--quiet');
      const { metrics, predictions } = JSON.parse(stdout);
      return metrics ?? predictions;
    };
    expect(await json('last:3')).toEqual(await json('all'));
  },
);

it('does not sample the head alone where the adapter has none there', async () => {
  const out = join(root, 'headless');
  await bpeft(...train, '--out', out, '--target-modules', 'q_proj');
  const { code, stderr } = await bpeft('eval', '--run', out, '--stochastic-layers', 'last:1');
  expect([code, stderr]).toEqual([2, expect.stringContaining('this adapter has none on lm_head')]);
});

it.each([
  ['eval', 'nowhere', 'no adapter_config.json in nowhere'],
  ['predict', 'nowhere', 'no adapter_config.json in nowhere'],
  ['eval', run, `that is a run: give --adapter ${join(run, 'adapter')}`],
])('lets %s say that no adapter is in %s', async (command, adapter, text) => {
  const args = [command, '--model', 'builtin:random', '--adapter', adapter];
  const { code, stderr } = await bpeft(
    ...args,
    ...(command === 'predict' ? [input] : ['--dataset', data]),
  );
  expect(code).toBe(2);
  expect(stderr).toContain('BPEFT_ADAPTER');
  expect(stderr).toContain(text);
});

it('takes the form of the prompts from a named or an own dataset', async () => {
  const args = ['predict', '--model', 'builtin:random', '--adapter', join(run, 'adapter'), input];
  const answers = async (...more: string[]) => (await bpeft(...args, ...more)).stdout;
  expect(await answers('--dataset', data)).toBe(await answers());
  const unknown = await bpeft(...args, '--dataset', 'ARC-Esay');
  expect([unknown.code, unknown.stderr]).toEqual([
    2,
    expect.stringContaining('did you mean "ARC-Easy"?'),
  ]);
});

it('says what came out of a quiet evaluation unless it is written elsewhere', async () => {
  const args = ['eval', '--run', run, '--samples', '1', '--quiet'];
  const { stdout, stderr } = await bpeft(...args);
  expect([stdout, stderr]).toEqual([
    '',
    expect.stringMatching(/^mood validation \(4 rows, 1 sample\).*\n$/),
  ]);
  expect((await bpeft(...args, '--json')).stderr).toBe('');
  expect((await bpeft(...args, '--out', join(root, 'quiet'))).stderr).toBe('');
});

it('says how to finish a run that has no adapter yet', async () => {
  const unfinished = join(root, 'unfinished');
  cpSync(run, unfinished, { recursive: true });
  rmSync(join(unfinished, 'adapter'), { recursive: true });
  const { code, stderr } = await bpeft('predict', '--run', unfinished, input);
  expect([code, stderr]).toEqual([
    2,
    expect.stringContaining(`bpeft train --out ${unfinished} --resume`),
  ]);
});
