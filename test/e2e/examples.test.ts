// examples/node-service.ts has its test in library.test.ts, beside the runs that it serves.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { triage } from '../../examples/custom-dataset.ts';
import { trainWithLog } from '../../examples/custom-logger.ts';
import { compare } from '../../examples/quickstart.ts';
import { fixtureData } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const short = {
  ...{ model: 'builtin:random', dataset: 'ARC-Easy', dataDir: fixtureData, maxSeqLen: 1000 },
  ...{ maxSteps: 4, evalLimit: 4 },
};

it('compares MLE and BLoB as examples/quickstart.ts says', async () => {
  const rows = await compare(temporaryFolder(), short);
  expect(rows.map(({ method, samples }) => [method, samples])).toEqual([
    ['mle', 0],
    ['blob', 10],
    ['blob', 0],
  ]);
  for (const { nll, ece } of rows) {
    expect(nll).toBeGreaterThan(0);
    expect(ece).toBeGreaterThanOrEqual(0);
  }
});

it('trains on its own rows and abstains as examples/custom-dataset.ts says', async () => {
  const texts = ['Nobody answers the phone.', 'Is this the right form?'];
  const answers = await triage(temporaryFolder(), texts);
  expect(answers.map(({ text }) => text)).toEqual(texts);
  for (const { answer, confidence, epistemic } of answers) {
    expect(confidence).toBeGreaterThanOrEqual(1 / 3);
    expect(answer === null).toBe(confidence < 0.6);
    expect(epistemic).toBeGreaterThan(0);
    expect(epistemic).toBeLessThan(1);
  }
});

it('logs every update as examples/custom-logger.ts says', async () => {
  const folder = temporaryFolder();
  const [head, ...lines] = readFileSync(await trainWithLog(folder, short), 'utf8')
    .trimEnd()
    .split('\n');
  expect(head).toBe('step,nll,kl,klWeight,sigmaMean,accuracy,ms');
  const recorded = readFileSync(join(folder, 'run/metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; step: number; nll: number })
    .filter(({ type }) => type === 'step');
  expect(lines.map((line) => line.split(',').slice(0, 2).map(Number))).toEqual(
    recorded.map(({ step, nll }) => [step, nll]),
  );
  expect(lines).toHaveLength(4);
});
