import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bayesianize, evaluate, openPredictor, train } from 'bpeft';
import { expect, it } from 'vitest';
import { readReport, reportText } from '../../ts/report/write-report.ts';
import { bpeft, fixtureData } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const data = { model: 'builtin:tiny', dataset: 'builtin:exam-topics', split: ['test'] };
const run = { ...data, maxSteps: 60, evalLimit: 40, lr: 0.01, evalSamples: [2, 0] };

it('measures raw and scaled answers side by side, and answers with what it has fitted', async () => {
  const out = join(temporaryFolder(), 'run');
  const { evaluations } = await train({ ...run, temperature: 'fit', out });
  const [sampled, mean] = evaluations;
  for (const evaluation of [sampled, mean]) {
    const { scaled, metrics } = evaluation ?? {};
    expect(scaled?.fit).toMatchObject({
      dataset: 'builtin:exam-topics',
      split: 'validation',
      n: 40,
    });
    expect(scaled?.fit?.nllScaled).toBeLessThanOrEqual(scaled?.fit?.nll ?? 0);
    expect(scaled?.metrics.acc).toBe(metrics?.acc);
    expect(scaled?.metrics.nll).not.toBe(metrics?.nll);
  }
  expect(sampled?.scaled?.temperature).not.toBe(mean?.scaled?.temperature);
  const temperature = mean?.scaled?.temperature ?? 0;
  const file = JSON.parse(readFileSync(join(out, 'result.json'), 'utf8'));
  expect(file.evaluations[1].scaled).toMatchObject({
    temperature,
    fit: { nll_scaled: expect.any(Number) },
  });
  expect(readFileSync(join(out, 'log.txt'), 'utf8')).toContain(
    'fitted on 40 rows of builtin:exam-topics validation',
  );

  const again = await evaluate({
    run: out,
    split: ['test'],
    limit: 40,
    samples: [0],
    temperature: 'fit',
  });
  expect(again.evaluations[0]?.scaled).toEqual(mean?.scaled);
  const given = await evaluate({ run: out, split: ['test'], limit: 40, samples: [0], temperature });
  expect(given.evaluations[0]?.scaled).toEqual({ ...mean?.scaled, fit: null });

  const question = { question: 'What is a prime number?', choices: ['mathematics', 'law'] };
  await using raw = await openPredictor({ run: out, samples: 0 });
  await using scaled = await openPredictor({ run: out, samples: 0, temperature: 2 });
  const [[before], [after]] = [await raw.predict([question]), await scaled.predict([question])];
  const roots = (before?.probs ?? []).map(Math.sqrt);
  const sum = roots.reduce((total, root) => total + root, 0);
  for (const [index, root] of roots.entries())
    expect(after?.probs[index]).toBeCloseTo(root / sum, 12);
  expect(after?.prediction).toBe(before?.prediction);
  expect(after?.entropy).toBeGreaterThan(before?.entropy ?? 0);

  const report = await readReport([out]);
  expect(report.comparison.map((cell) => [cell.samples, cell.temperature === null])).toEqual([
    [2, true],
    [2, false],
    [0, true],
    [0, false],
  ]);
  const shown = report.runs[0]?.evaluations[3];
  expect(shown?.metrics.nll.value).toBe(mean?.scaled?.metrics.nll);
  expect(shown?.metrics.nll.lower).toBeLessThan(mean?.scaled?.metrics.nll ?? 0);
  expect(await reportText(report, 'md')).toContain(`point estimate, T ${temperature.toFixed(3)}`);
});

it('fits on the dataset that the adapter was trained on, whatever is evaluated', async () => {
  const out = join(temporaryFolder(), 'run');
  await train({ ...run, method: 'mle', evalSamples: [0], out });
  const other = { dataset: ['ARC-Easy'], dataDir: fixtureData, split: ['validation'], limit: 12 };
  const { evaluations } = await evaluate({ run: out, ...other, temperature: 'fit' });
  expect(evaluations[0]?.dataset).toBe('ARC-Easy');
  expect(evaluations[0]?.scaled?.fit).toMatchObject({
    dataset: 'builtin:exam-topics',
    split: 'validation',
  });
});

it('holds back what trained the adapter, and no more, also of one that was made Bayesian', async () => {
  const [folder, parts] = [
    temporaryFolder(),
    { trainSplit: 'train[:90%]', method: 'mle' } as const,
  ];
  const out = join(folder, 'run');
  await train({ ...run, ...parts, maxSteps: 4, evalLimit: 8, evalSamples: [0], out });
  const tfb = join(folder, 'tfb');
  await bayesianize({ method: 'tfb', run: out, anchors: 8, samples: 2, out: tfb });
  const record = JSON.parse(readFileSync(join(tfb, 'bpeft.json'), 'utf8'));
  expect(record.made_with.rows).toMatchObject([{ split: 'train[:90%]', rows: 270 }]);
  for (const of of [{ run: out }, { adapter: tfb, model: data.model }]) {
    const asked = { ...of, split: ['test'], limit: 8, samples: [0], temperature: 'fit' as const };
    const held = { ...asked, temperatureSplit: 'train[90%:]' };
    const { evaluations } = await evaluate(held);
    expect(evaluations[0]?.scaled?.fit).toMatchObject({ split: 'train[90%:]', n: 8 });
    const trained = evaluate({ ...asked, temperatureSplit: 'train[:10%]' });
    await expect(trained).rejects.toThrow('train[:10%] trains the adapter');
  }
  const other = join(folder, 'other');
  await train({
    ...run,
    ...parts,
    trainSplit: 'validation',
    maxSteps: 4,
    evalLimit: 8,
    out: other,
  });
  const leak = evaluate({
    run: other,
    split: ['test'],
    limit: 8,
    samples: [0],
    temperature: 'fit',
  });
  await expect(leak).rejects.toThrow('validation trains the adapter');
});

it.each([
  ['evaluated rows', ['--split', 'validation'], 'validation is evaluated'],
  [
    'training rows',
    ['--split', 'test', '--temperature-split', 'train'],
    'train trains the adapter',
  ],
  ['rows without answers', ['--split', 'test', '--temperature-split', 'ood'], 'got none in 8 rows'],
])('refuses to fit on %s, before it trains', async (_, flags, message) => {
  const out = join(temporaryFolder(), 'run');
  const args = [
    '--model',
    data.model,
    '--dataset',
    data.dataset,
    '--method',
    'mle',
    '--max-steps',
    '2',
    '--max-seq-len',
    '700',
  ];
  const words = [
    'train',
    ...args,
    '--eval-limit',
    '8',
    '--out',
    out,
    '--temperature',
    'fit',
    ...flags,
  ];
  const { code, stderr } = await bpeft(...words);
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  expect(stderr).toContain('--temperature-split another split');
  expect(stderr).not.toContain('step 1');
});

it.each([
  ['a split without a fit', ['train', '--temperature-split', 'test'], '--temperature fit'],
  [
    'a temperature of 0',
    ['train', '--temperature', '0'],
    '--temperature must be greater than 0, got 0',
  ],
  [
    'temperature as a method',
    ['train', '--method', 'temperature'],
    'give --temperature fit to train or eval',
  ],
])('refuses %s', async (_, words, message) => {
  const { code, stderr } = await bpeft(...words, '--model', data.model, '--dataset', data.dataset);
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
});
