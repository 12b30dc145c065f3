import { expect, it } from 'vitest';
import { parseSettings } from '../../../ts/config/parse.ts';
import { resolveTrain } from '../../../ts/config/resolve.ts';
import type { AdapterInfo } from '../../../ts/engine/adapter.ts';
import { trainingMethod } from '../../../ts/methods/registry.ts';
import { account, trainerOptions } from '../../../ts/run/training/plan.ts';

/** Every setting that the engine must hear of, each with a value of its own; blob's in `ofBlob`. */
const settings = {
  model: 'builtin:random',
  dataset: 'ARC-Easy',
  maxSteps: 50,
  batchSize: 4,
  seed: 7,
  lr: 0.011,
  warmupRatio: 0.2,
  weightDecay: 0.012,
  adamEpsilon: 0.013,
  maxGradNorm: 0.014,
  checkpointing: 'full',
  baseDropout: 0.021,
};
const ofBlob = {
  method: 'blob',
  priorStd: 0.015,
  klLr: 0.016,
  klForm: 'reference',
  klCycle: 17,
  trainSamples: 18,
  average: 'log-likelihood',
  noise: 'example',
  sigma: 'softplus',
  initEps: 0.019,
};

function given(values: Record<string, unknown>, rows = 40) {
  const config = resolveTrain(
    parseSettings('train', [{ origin: 'option', values: { ...settings, ...values } }]),
  );
  const accounting = account(config, rows);
  return { config, accounting, options: trainerOptions(config, accounting) };
}

const run = { seed: 7, keptBytes: 0, baseDropout: 0.021 };
const point = {
  lr: 0.011,
  schedule: { total: 50, warmup: 10, warmupStart: 1, stride: 1 },
  weightDecay: 0.012,
  adamEpsilon: 0.013,
  maxGradNorm: 0.014,
};

it('hands the engine every setting of BLoB', () => {
  const { config, options } = given(ofBlob);
  expect(options).toEqual({
    ...run,
    method: {
      id: 'blob',
      point,
      priorStd: 0.015,
      klForm: 'reference',
      klLr: 0.016,
      klCycle: { kind: 'pulse', length: 17 },
      trainSamples: 18,
      average: 'log-likelihood',
      noise: 'example',
    },
  });
  const method = trainingMethod('blob');
  expect(method.adapter(config)).toEqual({
    posterior: { sigma: 'softplus', initEps: 0.019 },
    members: 1,
  });
  expect(method.record(config)).toEqual({ prior_std: 0.015 });
});

it('hands the engine nothing of a posterior for a point', () => {
  const { config, options } = given({ method: 'mle' });
  expect(options).toEqual({ ...run, method: { id: 'mle', point } });
  expect(trainingMethod('mle').adapter(config)).toEqual({ posterior: null, members: 1 });
});

it.each([
  [{ klCycle: 'auto' }, { kind: 'pulse', length: 5 }],
  [{ klWeighting: 'uniform' }, { kind: 'uniform', length: 5 }],
  [{ klCycle: 'epoch' }, { kind: 'pulse', length: 10 }],
  [
    { klCycle: 3, klWeighting: 'uniform' },
    { kind: 'uniform', length: 3 },
  ],
])('makes of %j', (klSettings, expected) => {
  expect(given(klSettings).options.method).toMatchObject({ klCycle: expected });
});

it.each([
  // The reference's switches on winogrande_s: --bayes-klreweighting, --bayes-datasetrescaling
  [
    { klWeighting: 'uniform', klCycle: 'epoch' },
    { kind: 'uniform', length: 160 },
  ],
  [
    { klWeighting: 'uniform', klCycle: 'rescaled' },
    { kind: 'uniform', length: 316 },
  ],
  [
    { klWeighting: 'pulse', klCycle: 'epoch' },
    { kind: 'pulse', length: 160 },
  ],
  [
    { klWeighting: 'pulse', klCycle: 'rescaled' },
    { kind: 'pulse', length: 316 },
  ],
  [{}, { kind: 'pulse', length: 316 }],
])('reference: weights the KL of winogrande_s by %j', (klSettings, klCycle) => {
  const { options } = given({ protocol: 'reference', ...klSettings, maxSteps: 5000 }, 640);
  expect(options.method).toMatchObject({ klCycle });
});

it.each([
  ['corrected', 'square', 0.05],
  ['corrected', 'softplus', 0.05],
  ['reference', 'square', 0.05],
  ['reference', 'softplus', -0.05],
])('%s: starts %s at eps %d', (protocol, sigma, initEps) => {
  const { config } = given({ protocol, sigma });
  expect(trainingMethod('blob').adapter(config).posterior).toEqual({ sigma, initEps });
});

it('hands the engine an ensemble as members, each of maximum likelihood', () => {
  const { config, options } = given({ method: 'ensemble', members: 4 });
  expect(options).toEqual({ ...run, method: { id: 'mle', point } });
  expect(trainingMethod('ensemble').adapter(config)).toEqual({ posterior: null, members: 4 });
});

it('hands the engine MC dropout as dropout, in training and for answers', () => {
  const { config, options } = given({ method: 'mc-dropout', loraDropout: 0.1 });
  expect(options).toEqual({ ...run, method: { id: 'mle', point } });
  const method = trainingMethod('mc-dropout');
  expect(method.adapter(config)).toEqual({ posterior: null, members: 1 });
  const info = { dropout: 0.1 } as AdapterInfo;
  const asked = { protocol: 'reference', noise: 'token' } as const;
  expect(method.predictive(info, asked)).toEqual({
    dropout: 0.1,
    average: 'probabilities',
    noise: 'token',
  });
});

it('hands the engine the prior of MAP with its rows, and in protocol reference decay', () => {
  const map = { method: 'map', priorStd: 0.015 };
  expect(given(map).options).toEqual({
    ...run,
    method: { id: 'map', point, priorStd: 0.015, rows: 40 },
  });
  const reference = { method: 'map', protocol: 'reference', weightDecay: undefined };
  const { config, options } = given(reference);
  expect(options.method).toMatchObject({ id: 'mle', point: { weightDecay: 1e-5 } });
  expect(config.weightDecay).toBe(1e-5);
  expect(trainingMethod('map').record(config)).toEqual({ prior_std: null });
  const undecayed = given({ ...reference, weightDecay: 0 }).options;
  expect(undecayed.method).toMatchObject({ id: 'mle', point: { weightDecay: 0 } });
  expect(() => given({ ...reference, priorStd: 0.015 })).toThrow(
    'priorStd is of MAP in protocol corrected, got 0.015 in reference',
  );
});

it.each(['a', 'a-and-b'] as const)('hands the engine every setting of BBB over %s', (gaussian) => {
  const own = { gaussian, priorStd: 0.015, trainSamples: 18, sigma: 'softplus', initEps: 0.019 };
  const { config, options } = given({ method: 'bbb', ...own });
  expect(options).toEqual({
    ...run,
    method: { id: 'bbb', point, priorStd: 0.015, rows: 40, trainSamples: 18 },
  });
  const method = trainingMethod('bbb');
  const posterior = { sigma: 'softplus', initEps: 0.019, over: gaussian };
  expect(method.adapter(config)).toEqual({ posterior, members: 1 });
  const asked = { protocol: 'corrected', noise: 'token' } as const;
  expect(method.predictive({} as AdapterInfo, asked).noise).toBe('shared');
});

it('hands the engine every setting of IVON', () => {
  const notOfAdamW = { lr: null, adamEpsilon: null, maxGradNorm: null };
  const own = {
    ivonLr: 0.021,
    effectiveRows: 22,
    initialHessian: 0.023,
    hessianDecay: 0.9,
    ivonClip: 0.024,
  };
  const { config, options } = given({ method: 'ivon', trainSamples: 18, ...own, ...notOfAdamW });
  expect(options).toEqual({
    ...run,
    method: {
      ...{ id: 'ivon', lr: 0.021, schedule: point.schedule, effectiveRows: 22, weightDecay: 0.012 },
      ...{ initialHessian: 0.023, beta1: 0.9, beta2: 0.9, clip: 0.024, trainSamples: 18 },
    },
  });
  expect(trainingMethod('ivon').adapter(config)).toMatchObject({ posterior: { over: 'a-and-b' } });
  // The published rate where there are as many updates, as far in all where there are fewer.
  const usual = given({ method: 'ivon', ...notOfAdamW, maxSteps: 10_000 }, 400).options.method;
  expect(usual).toMatchObject({ lr: 0.03, effectiveRows: 1e6, initialHessian: 1e-3 });
  expect(given({ method: 'ivon', ...notOfAdamW }).options.method).toMatchObject({ lr: 6 });
});

it('hands the engine every setting of ScalaBL', () => {
  const own = { scalePriorStd: 0.021, scaleKlLr: 0.022, initEps: 0.019, trainSamples: 18 };
  const weighted = { klWeighting: 'uniform', klCycle: 17, average: 'log-likelihood' };
  const { config, options } = given({ method: 'scalabl', ...own, ...weighted });
  expect(options).toEqual({
    ...run,
    method: {
      ...{ id: 'scalabl', point, priorStd: 0.021, klLr: 0.022, trainSamples: 18 },
      ...{ klCycle: { kind: 'uniform', length: 17 }, average: 'log-likelihood' },
    },
  });
  const method = trainingMethod('scalabl');
  const posterior = { sigma: 'exp', initEps: 0.019, over: 'scales' };
  expect(method.adapter(config)).toEqual({ posterior, members: 1 });
  expect(method.record(config)).toEqual({ prior_std: 0.021 });
  const usual = given({ method: 'scalabl', maxSteps: 5000, protocol: 'reference' }, 640);
  expect(usual.options.method).toMatchObject({ priorStd: 1, klLr: 0.2 });
  expect(usual.options.method).toMatchObject({ klCycle: { kind: 'pulse', length: 316 } });
});

it('hands the engine every setting of C-LoRA', () => {
  const own = { contextLr: 0.021, contextPriorStd: 0.022, contextKl: 0.023, noise: 'example' };
  const weighted = { klWeighting: 'uniform', klCycle: 17, average: 'log-likelihood' };
  const { config, options } = given({ method: 'c-lora', trainSamples: 18, ...own, ...weighted });
  expect(options).toEqual({
    ...run,
    method: {
      ...{ id: 'c-lora', point, priorStd: 0.022, contextLr: 0.021, klWeight: 0.023 },
      ...{ klCycle: { kind: 'uniform', length: 17 }, trainSamples: 18 },
      ...{ average: 'log-likelihood', noise: 'example' },
    },
  });
  const method = trainingMethod('c-lora');
  expect(method.adapter(config)).toMatchObject({ posterior: { over: 'context' } });
  const asked = { protocol: 'corrected', noise: 'example' } as const;
  expect(method.predictive({} as AdapterInfo, asked).noise).toBe('example');
});

it('hands the engine every setting of SWAG, and collects once an epoch unless told otherwise', () => {
  const own = { swagStart: 0.4, swagLr: 0.021, swagEvery: 3, swagRank: 4, swagScale: 0.5 };
  const { config, options } = given({ method: 'swag', ...own });
  const moments = { start: 20, every: 3, lr: 0.021, deviations: 4, scale: 0.5 };
  expect(options).toEqual({ ...run, method: { id: 'swag', point, ...moments } });
  expect(trainingMethod('swag').adapter(config)).toEqual({ posterior: null, members: 1 });
  const usual = given({ method: 'swag' }).options.method;
  expect(usual).toMatchObject({ start: 25, every: 10, lr: 0.0055, deviations: 5, scale: 1 });
  expect(() => given({ method: 'swag', swagStart: 0.7 })).toThrow(
    /leaves 15 updates, of which one in 10/,
  );
});
