import { appendFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type PublishedPlace, publishedNumbers } from '../../../ts/report/published.ts';
import { readReport } from '../../../ts/report/write-report.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { writtenRun } from '../../support/written-run.ts';

it('takes values from the result and intervals from the predictions', async () => {
  const { runs } = await readReport([writtenRun()]);
  const [evaluation] = runs[0]?.evaluations ?? [];
  const { acc, ece, nll, brier } = evaluation?.metrics ?? {};
  expect(acc?.value).toBe(0.75);
  for (const estimate of [acc, ece, nll, brier]) {
    expect(estimate?.lower).toBeLessThanOrEqual(estimate?.value ?? Number.NaN);
    expect(estimate?.upper).toBeGreaterThan(estimate?.lower ?? Number.NaN);
  }
  // 30 of 40 right: a binomial's 95 % interval is 0.75 ± 0.134.
  expect(acc?.lower).toBeCloseTo(0.75 - 0.134, 1);
  expect(acc?.upper).toBeCloseTo(0.75 + 0.134, 1);
  expect(runs[0]?.notes).toEqual([]);
});

it('gives the command with what differs from its defaults, quoted for a shell', async () => {
  const settings = {
    lr: 0.003,
    eval_samples: [10, 0],
    template: 'corrected',
    target_modules: ['q_proj'],
  };
  const folder = writtenRun({ settings: { ...settings, dataset: "it's mine", batch_size: 4 } });
  const { runs } = await readReport([folder]);
  expect(runs[0]?.command).toBe(
    `bpeft train --model builtin:tiny --dataset 'it'\\''s mine' --max-steps 3 --lr 0.003 --target-modules q_proj ` +
      `--eval-samples 10,0 --out ${folder}`,
  );
});

it('puts the seeds of one method together, and methods apart', async () => {
  const folders = [1, 2, 3].map((seed) => writtenRun({ name: `seed-${seed}`, seed }));
  const { comparison } = await readReport([...folders, writtenRun({ method: 'mle' })]);
  expect(comparison.map(({ method, seeds }) => [method, seeds])).toEqual([
    ['blob', 3],
    ['mle', 1],
  ]);
  expect(comparison[0]?.metrics.acc).toEqual({ mean: 0.75, sd: 0 });
  expect(comparison[1]?.metrics.acc).toEqual({ mean: 0.75, sd: null });
});

it('tells folders of one name apart', async () => {
  const { runs } = await readReport([writtenRun(), writtenRun()]);
  const [first, second] = runs.map(({ name }) => name);
  expect(first).toMatch(/^bpeft-\w+\/first$/);
  expect(second).not.toBe(first);
});

it('sets published numbers beside ours for the same model and dataset only', async () => {
  const published = async (model: string, dataset: string) =>
    (await readReport([writtenRun({ model, dataset })])).comparison[0]?.published ?? [];
  const found = await published('Llama-2-7b-hf', 'ARC-Easy');
  expect(found.map(({ metric, value, source }) => [source.split(' ')[0], metric, value])).toEqual([
    ['StePS', 'acc', 0.7089],
    ['StePS', 'ece', 0.1051],
    ['C-LoRA', 'ece', 0.0429],
  ]);
  expect(await published('builtin:tiny', 'ARC-Easy')).toEqual([]);
  expect(await published('Llama-2-7b-hf', 'mine')).toEqual([]);
});

it('tells data that an adapter was trained on from other data, and samples from the mean', () => {
  const place = {
    method: 'blob',
    model: 'Llama-2-7b-hf',
    samples: 10,
    dataset: 'ARC-Easy',
  } as const;
  const eces = (more: Partial<PublishedPlace>) =>
    publishedNumbers({ ...place, trainedOn: 'ARC-Easy', ...more })
      .filter(({ metric }) => metric === 'ece')
      .map(({ value }) => value);
  expect(eces({})).toEqual([0.1051, 0.0429]);
  expect(eces({ trainedOn: 'obqa' })).toEqual([0.0808]);
  expect(eces({ trainedOn: null })).toEqual([]);
  expect(eces({ samples: 0 })).toEqual([]);
  expect(eces({ method: 'mle', samples: 0 })).toEqual([0.1186]);
});

it('keeps runs that were trained on other data apart', async () => {
  const elsewhere = writtenRun();
  const config = JSON.parse(readFileSync(join(elsewhere, 'config.json'), 'utf8'));
  const changed = { ...config, command: 'eval', trained_on: 'obqa' };
  writeFileSync(join(elsewhere, 'config.json'), JSON.stringify(changed));
  const { comparison } = await readReport([writtenRun(), elsewhere]);
  expect(comparison.map(({ seeds, trainedOn }) => [seeds, trainedOn])).toEqual([
    [1, 'ARC-Easy'],
    [1, 'obqa'],
  ]);
});

it('shows an unfinished run as far as it has come', async () => {
  const folder = writtenRun();
  rmSync(join(folder, 'result.json'));
  const evaluation = {
    type: 'evaluation',
    step: 2,
    dataset: 'ARC-Easy',
    split: 'validation',
    samples: 4,
  };
  appendFileSync(
    join(folder, 'metrics.jsonl'),
    `${JSON.stringify({ ...evaluation, metrics: { acc: 0.5 } })}\n{"type":"st`,
  );
  const { runs } = await readReport([folder]);
  expect(runs[0]).toMatchObject({ is_finished: false, method: 'blob', seed: 1, training: null });
  expect(runs[0]?.steps).toHaveLength(3);
  expect(runs[0]?.evaluations[0]?.metrics.acc).toEqual({ value: 0.5, lower: null, upper: null });
  expect(runs[0]?.notes).toEqual([
    'metrics.jsonl: 1 damaged line(s) left out',
    'not finished: 3 steps of 3 are logged',
  ]);
});

it.each([
  [
    'a result that is cut',
    (folder: string) => truncateSync(join(folder, 'result.json'), 40),
    'result.json is damaged',
  ],
  ['predictions that are cut', (folder: string) => cut(folder, 100), 'no whole predictions'],
  [
    'predictions that are gone',
    (folder: string) => rmSync(join(folder, 'predictions'), { recursive: true }),
    'no whole',
  ],
])('tells of %s and shows the rest', async (_, damage, note) => {
  const folder = writtenRun();
  damage(folder);
  const { runs } = await readReport([folder]);
  expect(runs[0]?.method).toBe('blob');
  expect(runs[0]?.notes.join()).toContain(note);
});

it('takes intervals from whole predictions where the result is cut', async () => {
  const folder = writtenRun();
  truncateSync(join(folder, 'result.json'), 40);
  const line = {
    type: 'evaluation',
    step: 3,
    dataset: 'ARC-Easy',
    split: 'validation',
    samples: 10,
  };
  const logged = JSON.stringify({ ...line, metrics: { acc: 0.75 } });
  appendFileSync(join(folder, 'metrics.jsonl'), `${logged}\n`);
  const { runs } = await readReport([folder]);
  const [evaluation] = runs[0]?.evaluations ?? [];
  expect(evaluation).toMatchObject({
    n: 40,
    metrics: { acc: { value: 0.75, lower: expect.any(Number) } },
  });
  expect(runs[0]?.notes).toEqual(['result.json is damaged: it is no JSON']);
});

it('keeps an infinite loss, which is a text in JSON', async () => {
  const folder = writtenRun();
  const path = join(folder, 'result.json');
  const { readFileSync } = await import('node:fs');
  writeFileSync(path, readFileSync(path, 'utf8').replace(/"nll":[\d.]+/, '"nll":"Infinity"'));
  const { runs } = await readReport([folder]);
  expect(runs[0]?.evaluations[0]?.metrics.nll.value).toBe(Number.POSITIVE_INFINITY);
});

it.each([
  ['nowhere', () => join(temporaryFolder(), 'nowhere'), 'is no folder'],
  ['an empty folder', () => temporaryFolder(), 'holds no run that can be read'],
])('refuses %s', async (_, folder, message) => {
  await expect(readReport([folder()])).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    message: expect.stringContaining(message),
  });
});

function cut(folder: string, bytes: number): void {
  truncateSync(join(folder, 'predictions', 'ARC-Easy-validation-n10.jsonl'), bytes);
}
