/**
 * What a run started from TypeScript has told the engine, by what the engine itself writes down and
 * does.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type DryRun,
  dryRun,
  type EvaluateOptions,
  evaluate,
  type RunEvent,
  type TrainOptions,
  train,
} from 'bpeft';
import { expect, it } from 'vitest';
import { bpeft, fixtureData, trainArgs } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const data = {
  model: 'builtin:random',
  dataset: 'ARC-Easy',
  dataDir: fixtureData,
  maxSeqLen: 700,
} as const;
const SHORT = {
  ...data,
  rank: 2,
  targetModules: ['v_proj'],
  evalLimit: 1,
  evalSamples: [0],
} as const;

type Step = Extract<RunEvent, { type: 'step' }>;

/** Trains, and gives each update's event and where the run lies. */
async function steps(options: Partial<TrainOptions>) {
  const out = join(temporaryFolder(), 'run');
  const events: Step[] = [];
  await train(
    { ...SHORT, targetModules: ['v_proj'], evalSamples: [0], ...options, out },
    { onEvent: (event) => event.type === 'step' && events.push(event) },
  );
  return { out, events };
}

/** A checkpoint's settings, as the engine has read them. */
function received(run: string): unknown {
  const latest = readFileSync(join(run, 'state', 'latest'), 'utf8').trim();
  return JSON.parse(readFileSync(join(run, 'state', latest, 'trainer.json'), 'utf8'));
}

it('tells the engine every setting of BLoB', async () => {
  const { out } = await steps({
    maxSteps: 1,
    seed: 7,
    lr: 0.0011,
    warmupRatio: 0.2,
    weightDecay: 0.012,
    adamEpsilon: 0.013,
    maxGradNorm: 0.014,
    priorStd: 0.15,
    klForm: 'reference',
    klLr: 0.016,
    klCycle: 17,
    klWeighting: 'uniform',
    trainSamples: 3,
    average: 'log-likelihood',
    noise: 'example',
    sigma: 'softplus',
    initEps: 0.25,
    alpha: 4,
    loraDropout: 0.125,
  });
  expect(received(out)).toMatchObject({
    train: {
      seed: 7,
      method: {
        id: 'blob',
        point: {
          lr: 0.0011,
          schedule: { total: 1, warmup: 0.2, warmupStart: 1, stride: 1 },
          weightDecay: 0.012,
          adamEpsilon: 0.013,
          maxGradNorm: 0.014,
        },
        priorStd: 0.15,
        klForm: 'reference',
        klLr: 0.016,
        klCycle: { kind: 'uniform', length: 17 },
        trainSamples: 3,
        average: 'log-likelihood',
        noise: 'example',
      },
    },
    adapter: {
      rank: 2,
      alpha: 4,
      dropout: 0.125,
      targetModules: ['v_proj'],
      posterior: { sigma: 'softplus', initEps: 0.25 },
      seed: 7,
    },
  });
});

it('raises the rate from 1/W, lowers it to 0, and weights the KL by its cycle', async () => {
  const run = { maxSteps: 10, warmupRatio: 0.4, lr: 0.01, klLr: 0.002, klCycle: 2 };
  const { events } = await steps(run);
  const factors = [1 / 4, 2 / 4, 3 / 4, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6];
  for (const [index, { lr, klLr, klWeight }] of events.entries()) {
    expect(lr).toBeCloseTo(0.01 * (factors[index] ?? Number.NaN), 12);
    expect(klLr).toBeCloseTo(0.002 * (factors[index] ?? Number.NaN), 12);
    expect(klWeight).toBeCloseTo(index % 2 === 0 ? 2 / 7 : 4 / 7, 12);
  }
  const { events: uniform } = await steps({ ...run, klWeighting: 'uniform', klCycle: 8 });
  expect(uniform.map(({ klWeight }) => klWeight)).toEqual(uniform.map(() => 1 / 8));
});

it('trains in a run of one update, except as the reference does', async () => {
  const [corrected] = (await steps({ maxSteps: 1, lr: 0.01 })).events;
  expect(corrected?.lr).toBe(0.01);
  const reference = (await steps({ maxSteps: 40, lr: 0.01, protocol: 'reference' })).events;
  expect(reference.map(({ lr }) => lr > 0).slice(0, 2)).toEqual([false, true]);
});

it.each([
  ['exact', 0],
  ['reference', 1e-6],
] as const)('reports the KL in its %s form', async (klForm, c) => {
  const priorStd = 0.3;
  const { out, events } = await steps({ maxSteps: 1, lr: 1e-9, klLr: 1e-9, priorStd, klForm });
  const { a, rho } = factors(join(out, 'adapter/adapter_model.safetensors'));
  const kl = a.reduce((sum, mean, index) => {
    const std = (rho[index] ?? 0) ** 2;
    const variance = 2 * priorStd ** 2 + c;
    return sum + Math.log((priorStd + c) / (std + c)) + (std ** 2 + mean ** 2) / variance - 0.5;
  }, 0);
  // The constant is worth 5e-4 per weight, a hundred times the tolerance.
  expect(Math.abs((events[0]?.kl ?? 0) - kl) / a.length).toBeLessThan(5e-6);
});

it.each([
  ['square', 'corrected', 0.00125, 0.0025],
  ['softplus', 'corrected', 0.00125, 0.0025],
  ['square', 'reference', 0.00125, 0.0025],
  ['softplus', 'reference', 0.3, 0.669],
] as const)(
  'starts sigma = %s of rho in protocol %s between %d and %d',
  async (sigma, protocol, low, high) => {
    const { plan } = await dryRun({
      ...data,
      targetModules: ['v_proj'],
      maxSteps: 40,
      sigma,
      protocol,
    });
    expect(plan.kl?.sigmaStart).toBeGreaterThan(low);
    expect(plan.kl?.sigmaStart).toBeLessThan(high);
  },
);

it('forecasts the KL from where the first adapter stands', async () => {
  const { out, events } = await steps({ maxSteps: 20, klLr: 0.05, klCycle: 2, rank: 4 });
  const trained = events.at(-1)?.sigmaMean ?? 0;
  expect(trained).toBeGreaterThan(0.02);
  const next = { ...data, rank: 4, maxSteps: 20, initAdapter: join(out, 'adapter') };
  const { plan }: DryRun = await dryRun({ ...next, targetModules: ['v_proj'] });
  expect(plan.kl?.sigmaStart).toBeCloseTo(trained, 6);
});

it.each([
  { klLr: 0.06 },
  { priorStd: 0.3 },
  { klForm: 'reference' },
  { warmupRatio: 0.5 },
] as const)('forecasts the KL with %j', async (setting) => {
  const run = { ...data, targetModules: ['v_proj'], maxSteps: 20, klLr: 0.05, klCycle: 2 };
  const [given, without] = [await dryRun({ ...run, ...setting }), await dryRun(run)];
  expect(given.plan.kl?.sigmaEnd).not.toBe(without.plan.kl?.sigmaEnd);
});

it('hands the engine what noise of answers is asked for, and in which layers', async () => {
  const { out } = await steps({ maxSteps: 20, lr: 0.01, klLr: 0.05, klCycle: 2, rank: 4 });
  const answers = async (options: Partial<EvaluateOptions>) => {
    const to = join(temporaryFolder(), 'evaluation');
    await evaluate({ ...options, samples: [4], limit: 4, run: out, out: to });
    return lines(to, 4).map(({ probs }) => probs);
  };
  const usual = await answers({});
  expect(await answers({ noise: 'example' })).not.toEqual(usual);
  expect(await answers({ stochasticLayers: 'last:2' })).not.toEqual(usual);
});

it('begins from no adapter that is Gaussian over something else, whatever its sigma', async () => {
  const { out } = await steps({ method: 'bbb', maxSteps: 1 });
  const from = { initAdapter: join(out, 'adapter'), maxSteps: 1 };
  await expect(steps({ ...from, method: 'bbb', gaussian: 'a-and-b' })).rejects.toMatchObject({
    message: 'gaussian must be that of initAdapter, a, got a-and-b',
  });
  await expect(steps({ ...from, method: 'ivon' })).rejects.toMatchObject({
    code: 'BPEFT_ADAPTER',
    message: 'initAdapter has a posterior over A, which method ivon cannot start from',
    hint: expect.stringMatching(/^train with method bbb, or leave/),
  });
});

it('evaluates by all of another protocol than the run had, and says where prompts differ', async () => {
  const { out } = await steps({ maxSteps: 1 });
  const told: string[] = [];
  const onEvent = (event: RunEvent) => {
    if (event.type === 'warning') told.push(event.message);
  };
  const asked = { run: out, evaluationTail: 'keep' as const, samples: [0], limit: 2 };
  await evaluate({ ...asked, protocol: 'corrected' }, { onEvent });
  expect(told).toEqual([]);
  const { run } = await evaluate({ ...asked, protocol: 'reference' }, { onEvent });
  expect(run).toMatchObject({ template: 'reference', labelTokens: 'last', metricMean: 'batches' });
  expect(run).toMatchObject({ protocol: 'reference', evaluationTail: 'keep' });
  expect(told[0]).toMatch(/^prompts are not those .*: template reference instead of corrected, /);
});

it('says of settings that they do nothing where they do not', async () => {
  const told: string[] = [];
  const onEvent = (event: RunEvent) => {
    if (event.type === 'warning') told.push(event.message);
  };
  const out = join(temporaryFolder(), 'run');
  const idle = { labels: ['a', 'b'], task: 'classification' as const, wandbProject: 'mine' };
  await train(
    { ...SHORT, evalSamples: [0], targetModules: ['v_proj'], maxSteps: 1, ...idle, out },
    { onEvent },
  );
  const without = { run: out, limit: 1, samples: [0], saveSamples: true };
  await evaluate({ ...without, log: ['tensorboard'] }, { onEvent });
  expect(told).toEqual([
    'wandbProject does nothing without log wandb',
    'labels does nothing for ARC-Easy, which has choices in its rows',
    'task classification does nothing for ARC-Easy, which is multiple-choice',
    'log tensorboard does nothing without out',
    'saveSamples: true does nothing without out',
  ]);
});

it('says where rho is read otherwise than it was saved', async () => {
  const { out } = await steps({ maxSteps: 1 });
  const told: string[] = [];
  const onEvent = (event: RunEvent) => {
    if (event.type === 'warning') told.push(event.message);
  };
  for (const sigma of ['square', 'softplus'] as const)
    await evaluate({ run: out, sigma, samples: [1], limit: 2 }, { onEvent });
  expect(told).toEqual([
    expect.stringContaining('its rho was saved for sigma square; read for softplus'),
  ]);
});

it('hands the engine what --sampling says: a pair that mirrors each other, or two draws', async () => {
  const { out } = await steps({ maxSteps: 20, lr: 0.01, klLr: 0.05, klCycle: 2, rank: 4 });
  const probabilities = async (sampling: string) => {
    const to = join(temporaryFolder(), sampling);
    const flags = [
      '--samples',
      '2',
      '--save-samples',
      '--limit',
      '6',
      '--sampling',
      sampling,
      '--out',
      to,
    ];
    expect((await bpeft('eval', '--run', out, ...flags)).code).toBe(0);
    return lines(to, 2).map(({ sample_probs }) => sample_probs);
  };
  const [pairs, draws] = [await probabilities('antithetic'), await probabilities('plain')];
  expect(pairs.map((samples) => samples?.[0])).toEqual(draws.map((samples) => samples?.[0]));
  for (const [row, samples] of pairs.entries()) expect(samples?.[1]).not.toEqual(draws[row]?.[1]);
});

it('evaluates whole rounds of all processes where the tail is dropped', async () => {
  const { out } = await steps({ maxSteps: 1 });
  const round = async (processes: number) => {
    const options = { evaluationTail: 'drop', evalBatchSize: 3, limit: 11 } as const;
    return (await evaluate({ ...options, samples: [0], run: out, processes })).evaluations[0]?.n;
  };
  expect([await round(1), await round(2)]).toEqual([9, 6]);
});

it('takes means over batches, or over rows, as --metric-mean says', async () => {
  const { out } = await steps({ maxSteps: 1 });
  const folder = join(temporaryFolder(), 'eval');
  const options = { evaluationTail: 'keep', evalBatchSize: 4, limit: 10 } as const;
  const nll = async (metricMean: 'batches' | 'rows') =>
    (
      await evaluate({
        ...options,
        samples: [0],
        run: out,
        metricMean,
        out: folder,
        overwrite: true,
      })
    ).metrics?.nll;
  const [overBatches, overRows] = [await nll('batches'), await nll('rows')];
  const losses = lines(folder, 0).map(({ label, probs }) => -Math.log(probs[label] ?? Number.NaN));
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(overRows).toBeCloseTo(mean(losses), 12);
  const batches = [losses.slice(0, 4), losses.slice(4, 8), losses.slice(8)];
  expect(overBatches).toBeCloseTo(mean(batches.map(mean)), 12);
  expect(Math.abs(mean(losses) - mean(batches.map(mean)))).toBeGreaterThan(1e-6);
});

it('refuses a flag of another method, and resumes a run without them', async () => {
  const out = join(temporaryFolder(), 'run');
  const mle = ['--method', 'mle', '--max-steps', '2', '--eval-limit', '1'];
  const refused = await bpeft(...trainArgs(out, ...mle, '--kl-lr', '5'));
  expect([refused.code, refused.stderr]).toEqual([
    2,
    expect.stringContaining('--kl-lr is a setting of'),
  ]);
  expect((await bpeft(...trainArgs(out, ...mle))).code).toBe(0);
  expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')).config).not.toHaveProperty(
    'kl_lr',
  );
  expect((await bpeft(...trainArgs(out, ...mle, '--resume'))).code).toBe(0);
});

interface Line {
  readonly label: number;
  readonly probs: readonly number[];
  readonly sample_probs?: readonly (readonly number[])[];
}

function lines(folder: string, samples: number): Line[] {
  const text = readFileSync(
    join(folder, `predictions/ARC-Easy-validation-n${samples}.jsonl`),
    'utf8',
  );
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

/** All values of A and of rho, site by site. */
function factors(path: string): { a: number[]; rho: number[] } {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<
    string,
    { data_offsets: number[] }
  >;
  const values = (ending: string) =>
    Object.keys(header)
      .filter((name) => name.endsWith(ending))
      .sort()
      .flatMap((name) => {
        const [from = 0, to = 0] = header[name]?.data_offsets ?? [];
        return Array.from({ length: (to - from) / 4 }, (_, i) =>
          bytes.readFloatLE(start + from + 4 * i),
        );
      });
  return { a: values('lora_A.weight'), rho: values('lora_A_rho') };
}
