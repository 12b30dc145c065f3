import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, openPredictor, train } from 'bpeft';
import { expect, it } from 'vitest';
import { BpeftProcess, bpeft, fixtureData, outcome, trainArgs } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const data = {
  model: 'builtin:random',
  dataset: 'ARC-Easy',
  dataDir: fixtureData,
  maxSeqLen: 700,
} as const;
const run = { ...data, maxSteps: 6, evalLimit: 6, lr: 1e-3, loraDropout: 0.1 } as const;
const question = { question: 'Which planet has rings?', choices: ['Mars', 'Saturn', 'Venus'] };
const formats = readFileSync(join(import.meta.dirname, '../../docs/adapter-format.md'), 'utf8');

/** What names of tensors say after the layer, each once. */
function parts(adapter: string): string[] {
  const bytes = weights(adapter);
  const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE()));
  const names = Object.keys(JSON.parse(header.toString('utf8')));
  const own = names.filter((name) => name.includes('.lora_'));
  return [...new Set(own.map((name) => name.slice(name.indexOf('.lora_') + 1)))];
}

const weights = (folder: string) => readFileSync(join(folder, 'adapter_model.safetensors'));

it('trains an ensemble whose members are the runs of their seeds, and averages their answers', async () => {
  const folder = temporaryFolder();
  const [ensemble, rank] = [join(folder, 'ensemble'), 4];
  const { metrics, evaluations } = await train({
    ...run,
    method: 'ensemble',
    rank,
    seed: 5,
    out: ensemble,
  });
  expect(evaluations.map(({ samples }) => samples)).toEqual([3]);
  expect(metrics?.nll).toBeGreaterThan(0);
  const answers: (readonly number[])[] = [];
  for (const [member, below] of ['.', 'adapter_1', 'adapter_2'].entries()) {
    const single = join(folder, `mle-${member}`);
    await train({ ...run, method: 'mle', rank, seed: 5 + member, out: single });
    expect(weights(join(ensemble, 'adapter', below)).equals(weights(join(single, 'adapter')))).toBe(
      true,
    );
    await using predictor = await openPredictor({ run: single });
    answers.push(...(await predictor.predict([question])).map(({ probs }) => probs));
  }
  await using predictor = await openPredictor({ run: ensemble });
  const [answer] = await predictor.predict([question]);
  for (const [index, p] of (answer?.probs ?? []).entries()) {
    expect(p).toBeCloseTo(
      answers.reduce((sum, probs) => sum + (probs[index] ?? 0) / 3, 0),
      12,
    );
  }
  expect(answer?.mutualInformation).toBeGreaterThan(0);

  renameSync(join(ensemble, 'adapter/adapter_2'), join(folder, 'elsewhere'));
  const damaged = { run: ensemble, samples: [1], limit: 2 };
  await expect(evaluate(damaged)).rejects.toMatchObject({
    code: 'BPEFT_ADAPTER',
    message: expect.stringContaining('must have 3 members, got 2'),
  });
});

it('averages the logits of the members in protocol reference', async () => {
  const out = join(temporaryFolder(), 'run');
  await train({ ...run, method: 'ensemble', protocol: 'reference', members: 2, out });
  await using predictor = await openPredictor({ run: out });
  const [answer] = await predictor.predict([question]);
  expect(answer?.mutualInformation).toBeNull();
});

it('resumes an ensemble after kill -9 as the same run', async () => {
  const folder = temporaryFolder();
  const settings = [
    '--method',
    'ensemble',
    '--max-steps',
    '60',
    '--checkpoint-every',
    '7',
    '--eval-limit',
    '4',
  ];
  const whole = join(folder, 'whole');
  expect(await bpeft(...trainArgs(whole, ...settings))).toMatchObject({ code: 0 });
  const out = join(folder, 'run');
  const first = new BpeftProcess(trainArgs(out, ...settings));
  await first.seen('step 20/60');
  first.kill('SIGKILL');
  await first.finished;
  expect(await bpeft('train', '--out', out, '--resume')).toMatchObject({ code: 0 });
  expect(outcome(out)).toEqual(outcome(whole));
});

it('answers by masks of its own for each sample under MC dropout, and by the mean without samples', async () => {
  const out = join(temporaryFolder(), 'run');
  const { evaluations } = await train({ ...run, method: 'mc-dropout', evalSamples: [0, 4], out });
  expect(evaluations.map(({ samples }) => samples)).toEqual([0, 4]);
  const [mean, sampled] = evaluations.map(({ metrics }) => metrics.nll);
  expect(sampled).not.toBe(mean);
  await using predictor = await openPredictor({ run: out, samples: 6 });
  const [first] = await predictor.predict([question]);
  expect(first?.mutualInformation).toBeGreaterThan(0);
  expect(await predictor.predict([question])).toEqual([first]);
  // The same adapter as the run without a name for its masks.
  const mle = join(temporaryFolder(), 'mle');
  await train({ ...run, method: 'mle', out: mle });
  expect(weights(join(mle, 'adapter')).equals(weights(join(out, 'adapter')))).toBe(true);
});

it.each([
  ['map', { priorStd: 0.05 }],
  ['bbb', { gaussian: 'a', priorStd: 0.05 }],
  ['bbb', { gaussian: 'a-and-b', initEps: 0.2 }],
  ['ivon', { lr: undefined, ivonLr: 0.1, ivonClip: 0.1, effectiveRows: 500 }],
  ['swag', { swagEvery: 2, swagRank: 3, swagLr: 0.01 }],
  ['scalabl', { initEps: 0.5, klCycle: 3 }],
  ['c-lora', { contextLr: 0.2, klCycle: 3 }],
] as const)('trains, evaluates and answers by %s', async (method, own) => {
  const out = join(temporaryFolder(), 'run');
  const settings = { ...run, maxSteps: 12, rank: 4, method, ...own } as const;
  const trained = await train({ ...settings, evalSamples: [4], out });
  const evaluated = await evaluate({ run: out, samples: [4], limit: 6 });
  expect(evaluated.metrics).toEqual(trained.metrics);
  for (const part of parts(join(out, 'adapter'))) expect(formats).toContain(part);
  await using predictor = await openPredictor({ run: out, samples: 4 });
  const [answer] = await predictor.predict([question]);
  expect(answer?.mutualInformation === null).toBe(method === 'map');
  const again = join(temporaryFolder(), 'again');
  await train({ ...settings, evalSamples: [4], out: again });
  expect(weights(join(again, 'adapter')).equals(weights(join(out, 'adapter')))).toBe(true);
});

it.each([
  [{ method: 'mc-dropout', loraDropout: 0 }, /needs a probability above 0/],
  [{ method: 'ensemble', members: 1 }, /members/],
  [
    { method: 'swag', swagEvery: 2 },
    /2 collected points or more: swagStart 0.5 leaves 3 updates, of which one in 2/,
  ],
] as const)('refuses %o', async (settings, message) => {
  const out = join(temporaryFolder(), 'run');
  await expect(train({ ...run, ...settings, out })).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    message: expect.stringMatching(message),
  });
});

it('takes what answers do not depend on from a file for many runs, not from a flag for one', async () => {
  const folder = temporaryFolder();
  const [out, config, rows] = [
    join(folder, 'run'),
    join(folder, 'shared.json'),
    join(folder, 'rows.jsonl'),
  ];
  await train({ ...run, method: 'mle', maxSteps: 1, out });
  writeFileSync(config, JSON.stringify({ noise: 'example' }));
  writeFileSync(rows, `${JSON.stringify(question)}\n`);
  const ask = (...more: string[]) => bpeft('predict', '--run', out, rows, '--quiet', ...more);
  expect(await ask('--config', config)).toMatchObject({ code: 0, stderr: '' });
  const refused = await ask('--config', config, '--noise', 'token');
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain(
    '--noise is a setting of method blob, c-lora, or tfb, got an adapter of method mle',
  );
  await expect(openPredictor({ run: out, noise: 'token' })).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
  });
});
