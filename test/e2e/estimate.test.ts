import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { MEMORY_BAND } from '../../ts/estimate/memory.ts';
import { bpeft } from '../support/bpeft-process.ts';

const root = join(import.meta.dirname, '../..');
let folder: string;
let large: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bpeft-estimate-'));
  large = join(folder, 'large.gguf');
  const make = [join(root, 'bench/random-model.mjs'), '135m', large, '--layers', '4'];
  expect(spawnSync(process.execPath, make).status).toBe(0);
});

/** Rows whose prompts have about as many bytes, which are the large model's tokens. */
function dataset(bytes: number): string {
  const data = mkdtempSync(join(folder, 'data-'));
  const question = 'x'.repeat(bytes);
  const row = JSON.stringify({ question, choices: ['yes', 'no'], answer: 0 });
  writeFileSync(join(data, 'train.jsonl'), `${row}\n`.repeat(8));
  return data;
}

it.each([
  ['large', 'bf16', 4, 480, ['--method', 'blob']],
  ['large', 'f32', 4, 480, ['--method', 'mle', '--checkpointing', 'full']],
  ['large', 'f32', 8, 200, ['--method', 'ensemble', '--members', '2']],
  ['builtin:tiny', 'f32', 4, 800, ['--method', 'blob', '--train-samples', '2']],
] as const)(
  'holds for the peak of a training of %s in %s, %i prompts of about %i bytes, %j',
  async (name, precision, batch, bytes, more) => {
    const model = name === 'large' ? large : name;
    const settings = [
      '--model',
      model,
      '--precision',
      precision,
      '--batch-size',
      String(batch),
      ...more,
    ];
    const out = join(mkdtempSync(join(folder, 'run-')), 'run');
    const limits = [
      '--max-steps',
      '3',
      '--max-seq-len',
      '2000',
      '--eval-limit',
      '1',
      '--eval-samples',
      '1',
    ];
    const data = dataset(bytes);
    const trained = await bpeft('train', ...settings, ...limits, '--dataset', data, '--out', out);
    expect(trained).toMatchObject({ code: 0 });
    const { training } = JSON.parse(readFileSync(join(out, 'result.json'), 'utf8'));
    const first = readFileSync(join(out, 'metrics.jsonl'), 'utf8').split('\n')[0] ?? '';
    const members = more.some((word) => word === '--members') ? 2 : 1;
    const tokens = String(Math.round(JSON.parse(first).tokens / batch / members));
    const { stdout } = await bpeft('estimate', ...settings, '--tokens', tokens, '--json');
    const { total } = JSON.parse(stdout).cpu.memory;
    expect(total.high / total.low).toBeCloseTo(MEMORY_BAND.high / MEMORY_BAND.low, 6);
    const measured = training.peak_rss_mb * 1e6;
    expect(measured / total.expected).toBeGreaterThan(MEMORY_BAND.low);
    expect(measured / total.expected).toBeLessThan(MEMORY_BAND.high);
  },
);

it('tells of a shape without files, on a GPU too', async () => {
  const settings = [
    '--shape',
    'llama-2-7b',
    '--precision',
    'bf16',
    '--tokens',
    '100',
    '--gpu',
    'h200',
  ];
  const { code, stdout } = await bpeft('estimate', ...settings);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^model {6}llama-2-7b: 6\.74 billion parameters, [\d,]+ trained$/m);
  expect(stdout).toMatch(/^update {5}4 prompts of 100 tokens, 400 rows, bf16$/m);
  expect(stdout).toMatch(
    /^CPU {8}[\d.]+ GB of memory \([\d.]+ GB to [\d.]+ GB\): weights 13\.5 GB/m,
  );
  expect(stdout).toMatch(/^h200 {7}[\d.]+ GB of memory .*: fits yes$/m);
  expect(stdout).toMatch(
    /an update [\d.]+ m?s \([\d.]+ m?s to [\d.]+ m?s\), 16 answers of 10 samples/,
  );
  expect(stdout).toContain('nothing has been measured on a GPU yet');
});

it('counts the parameters of small models in millions', async () => {
  const { stdout } = await bpeft('estimate', '--shape', 'smollm2-135m', '--tokens', '100');
  expect(stdout).toMatch(/^model {6}smollm2-135m: 134 million parameters, /m);
});

it('refuses what is no setting of it', async () => {
  const { code, stderr } = await bpeft('estimate', '--shape', 'llama-2-7b', '--lr', '1');
  expect([code, stderr]).toEqual([2, expect.stringContaining("unknown option '--lr'")]);
});
