import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fromFileJson } from '../../ts/run/records/json.ts';
import type { RunResult } from '../../ts/run/records/result.ts';
import { BpeftProcess, bpeft, fixtureData, trainArgs } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let folder: string;
let run: string;
let trained: RunResult;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bpeft-'));
  run = join(folder, 'blob');
  const { code, stdout, stderr } = await bpeft(
    ...trainArgs(run, '--max-steps', '60', '--lr', '0.003', '--eval-samples', '4,0', '--json'),
  );
  expect([code, stderr]).toEqual([0, expect.stringContaining('step 60/60')]);
  trained = JSON.parse(stdout) as RunResult;
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A line of any of the run's JSON Lines files. */
interface Line {
  readonly type?: string;
  readonly step?: number;
  readonly nll?: number;
  readonly row?: number;
  readonly probs?: number[];
  readonly sample_probs?: number[][];
}

const jsonLines = (path: string) =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

it('writes the run folder of the contract', () => {
  expect(readdirSync(run).sort()).toEqual(
    [
      'adapter',
      'config.json',
      'log.txt',
      'metrics.jsonl',
      'predictions',
      'result.json',
      'state',
    ].sort(),
  );
  expect(readdirSync(join(run, 'adapter')).sort()).toEqual([
    'adapter_config.json',
    'adapter_model.safetensors',
    'bpeft.json',
  ]);
  expect(readdirSync(join(run, 'predictions')).sort()).toEqual([
    'ARC-Easy-validation-n0.jsonl',
    'ARC-Easy-validation-n4.jsonl',
  ]);
  expect(JSON.parse(readFileSync(join(run, 'result.json'), 'utf8'))).toEqual(trained);
});

it('records no absolute path in what people share', () => {
  for (const name of [
    'config.json',
    'result.json',
    'adapter/bpeft.json',
    'adapter/adapter_config.json',
  ]) {
    expect(readFileSync(join(run, name), 'utf8')).not.toContain(fixtureData);
  }
});

it('learns: the loss of the last steps is below that of the first', () => {
  const steps = jsonLines(join(run, 'metrics.jsonl')).filter(({ type }) => type === 'step');
  expect(steps.map(({ step }) => step)).toEqual(
    Array.from({ length: 60 }, (_, index) => index + 1),
  );
  const mean = (part: typeof steps) =>
    part.reduce((sum, { nll }) => sum + Number(nll), 0) / part.length;
  expect(mean(steps.slice(-15))).toBeLessThan(mean(steps.slice(0, 15)));
});

it('tells how far a later split stands out from the first, and measures more than it prints', async () => {
  const { stdout, stderr } = await bpeft(
    ...['eval', '--run', run, '--split', 'validation,train', '--samples', '4', '--json'],
  );
  const { evaluations } = fromFileJson(stdout) as RunResult;
  const [first, later] = evaluations;
  expect(first?.detection).toBeNull();
  expect(later?.detection?.against).toEqual({ dataset: 'ARC-Easy', split: 'validation' });
  expect(later?.detection?.auroc.mutualInformation).toBeGreaterThanOrEqual(0);
  expect(first?.metrics.eceNoiseFloor).toBeGreaterThan(0);
  expect(stderr).toMatch(/ece 0\.\d{4} \(floor 0\.\d{4}\)/);
});

it('evaluates the saved adapter exactly as training did', async () => {
  const { code, stdout } = await bpeft('eval', '--run', run, '--samples', '4,0', '--json');
  expect(code).toBe(0);
  const { evaluations } = JSON.parse(stdout) as RunResult;
  expect(evaluations.map(({ samples, metrics }) => [samples, metrics])).toEqual(
    trained.evaluations.map(({ samples, metrics }) => [samples, metrics]),
  );
});

it.each([
  ['batch size', ['--eval-batch-size', '7']],
  ['number of threads', ['--threads', '1']],
])('gives the same numbers to the bit for any %s', async (_, flags) => {
  const out = join(temporaryFolder(), 'eval');
  await bpeft('eval', '--run', run, '--samples', '4', ...flags, '--out', out);
  const answers = (from: string) =>
    jsonLines(join(from, 'predictions', 'ARC-Easy-validation-n4.jsonl'));
  expect(answers(out)).toHaveLength(60);
  expect(answers(out)).toEqual(answers(run));
});

it('evaluates several datasets, splits and sample counts, also without labels', async () => {
  const out = join(temporaryFolder(), 'ood');
  const { code, stdout } = await bpeft(
    ...[
      'eval',
      '--run',
      run,
      '--dataset',
      'exam-topics',
      '--split',
      'validation,ood',
      '--samples',
      '2,0',
    ],
    ...['--out', out, '--save-samples', '--json'],
  );
  expect(code).toBe(0);
  const { evaluations } = JSON.parse(stdout) as RunResult;
  expect(evaluations.map(({ split, samples }) => `${split} ${samples}`)).toEqual([
    'validation 2',
    'validation 0',
    'ood 2',
    'ood 0',
  ]);
  expect(evaluations[2]?.metrics).toMatchObject({
    acc: null,
    nll: null,
    entropy: expect.any(Number),
  });
  const [row] = jsonLines(join(out, 'predictions', 'exam-topics-ood-n2.jsonl'));
  expect(row).toMatchObject({ row: 0, label: null, mutual_information: expect.any(Number) });
  const perSample = row?.sample_probs ?? [];
  expect(perSample.length).toBe(2);
  const mean = (row?.probs ?? []).map(
    (_, k) => ((perSample[0]?.[k] ?? 0) + (perSample[1]?.[k] ?? 0)) / 2,
  );
  for (const [k, value] of mean.entries())
    expect(value).toBeCloseTo(row?.probs?.[k] ?? Number.NaN, 12);
});

it('predicts the rows of a file and of standard input alike, as evaluation does', async () => {
  const rows = readFileSync(join(fixtureData, 'arc_easy/validation.jsonl'), 'utf8')
    .split('\n')
    .slice(0, 5);
  const input = join(temporaryFolder(), 'input.jsonl');
  writeFileSync(input, `${rows.join('\n')}\n`);
  const args = ['predict', '--run', run, '--samples', '4', '--quiet'];
  const file = await bpeft(...args, input);
  expect([file.code, file.stderr]).toEqual([0, '']);
  const piped = await new BpeftProcess([...args, '-']).write(`${rows.join('\n')}\n`).finished;
  expect(piped.stdout).toBe(file.stdout);
  const out = join(temporaryFolder(), 'new', 'answers.jsonl');
  expect((await bpeft(...args, input, '--out', out)).stdout).toBe('');
  expect(readFileSync(out, 'utf8')).toBe(file.stdout);
  const answers = file.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const evaluated = jsonLines(join(run, 'predictions', 'ARC-Easy-validation-n4.jsonl'));
  expect(answers.length).toBe(5);
  for (const [index, { row, probs, prediction, labels }] of answers.entries()) {
    expect(row).toBe(index);
    expect(prediction).toBe(labels[probs.indexOf(Math.max(...probs))]);
    for (const [k, p] of probs.entries())
      expect(p).toBeCloseTo(evaluated[index]?.probs?.[k] ?? Number.NaN, 5);
  }
});

it('has one prediction for a point adapter, whatever number of samples is asked for', async () => {
  const out = join(temporaryFolder(), 'mle');
  const args = trainArgs(
    out,
    '--method',
    'mle',
    '--max-steps',
    '3',
    '--eval-samples',
    '10,0',
    '--eval-limit',
    '4',
  );
  const { evaluations } = fromFileJson((await bpeft(...args, '--json')).stdout) as RunResult;
  expect(evaluations.map(({ samples, metrics }) => [samples, metrics.mutualInformation])).toEqual([
    [0, null],
  ]);
});

it('drops the tail and stops at whole epochs in protocol reference', async () => {
  const out = join(temporaryFolder(), 'reference');
  const args = trainArgs(
    out,
    '--protocol',
    'reference',
    '--max-steps',
    '60',
    '--eval-limit',
    '50',
    '--eval-samples',
    '2',
  );
  const { training, evaluations } = JSON.parse(
    (await bpeft(...args, '--json')).stdout,
  ) as RunResult;
  expect(training?.steps).toBe(100); // 2 epochs of 50 batches
  expect(evaluations[0]?.n).toBe(48);
});

it('writes nothing in a dry run, but plans and times a step', async () => {
  const out = join(temporaryFolder(), 'dry');
  const { code, stdout } = await bpeft(
    ...trainArgs(out, '--dry-run', '--json', '--max-steps', '300'),
  );
  expect(code).toBe(0);
  expect(() => readdirSync(out)).toThrow('ENOENT');
  expect(JSON.parse(stdout)).toMatchObject({
    dry_run: true,
    plan: {
      rows: 200,
      steps: 300,
      epochs: 6,
      kl: { cycle: 30, pulses: 10 },
      parameters: { trainable: 8720 },
    },
    step: { nll: expect.any(Number) },
  });
});

it('warns when the KL cannot act', async () => {
  const { stderr } = await bpeft(
    ...trainArgs('unused', '--dry-run', '--max-steps', '30', '--kl-cycle', '11'),
  );
  expect(stderr).toContain('warning BPEFT_KL_NEVER_ACTS');
  const acting = await bpeft(
    ...trainArgs('unused', '--dry-run', '--max-steps', '30', '--kl-cycle', '10'),
  );
  expect(acting.stderr).not.toContain('BPEFT_KL_NEVER_ACTS');
});

it('refuses a folder that holds another run, and replaces it only with --overwrite', async () => {
  const refused = await bpeft(...trainArgs(run, '--max-steps', '1', '--json'));
  expect(refused.code).toBe(2);
  expect(JSON.parse(refused.stdout).error.code).toBe('BPEFT_RUN_EXISTS');
  expect(JSON.parse(readFileSync(join(run, 'result.json'), 'utf8'))).toEqual(trained);
  const replaced = await bpeft(...trainArgs(run, '--max-steps', '1', '--overwrite'));
  expect(replaced.code).toBe(0);
  expect(JSON.parse(readFileSync(join(run, 'result.json'), 'utf8'))).toMatchObject({
    training: { steps: 1 },
  });
});
