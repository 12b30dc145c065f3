import { beforeAll, expect, it } from 'vitest';
import { type Layer, mergeLayers, parseSettings } from '../../../ts/config/parse.ts';
import { speakFlags } from '../../../ts/errors.ts';

beforeAll(speakFlags);

const flags = (values: Record<string, unknown>): Layer => ({ origin: 'flag', values });
const file = (values: Record<string, unknown>): Layer => ({
  origin: 'file',
  source: 'x.yaml',
  values,
});

it('lets flags win over the file, and the file over defaults', () => {
  const settings = parseSettings('train', [file({ lr: 0.01, rank: 4 }), flags({ rank: 2 })]);
  expect([settings.lr, settings.rank, settings.alpha]).toEqual([0.01, 2, 16]);
});

it('takes null and undefined for "not set"', () => {
  expect(parseSettings('train', [file({ rank: 4 }), flags({ rank: undefined })]).rank).toBe(4);
  expect(parseSettings('train', [file({ rank: null })]).rank).toBe(8);
});

it('has the defaults of the reference', () => {
  const { priorStd, klLr, klGamma, initEps, warmupRatio, adamEpsilon, maxSeqLen } = parseSettings(
    'train',
    [],
  );
  expect({ priorStd, klLr, klGamma, initEps, warmupRatio, adamEpsilon, maxSeqLen }).toEqual({
    priorStd: 0.2,
    klLr: 0.01,
    klGamma: 8,
    initEps: 0.05,
    warmupRatio: 0.06,
    adamEpsilon: 1e-6,
    maxSeqLen: 300,
  });
});

it.each([
  ['a flag by its name', flags({ lr: -1 }), '--lr must be greater than 0, got -1', undefined],
  ['a file by its path', file({ klLr: 'x' }), 'x.yaml: kl_lr must be a number, got "x"', undefined],
  [
    'an option as it is written',
    { origin: 'option', values: { rank: 1.5 } } satisfies Layer,
    'rank must be a whole number, got 1.5',
    undefined,
  ],
  [
    'a misspelt value',
    flags({ average: 'logit' }),
    '--average must be one of logits, log-likelihood, got "logit"',
    'did you mean logits?',
  ],
  [
    'a value above its bound',
    flags({ warmupRatio: 2 }),
    '--warmup-ratio must be at most 1, got 2',
    undefined,
  ],
  [
    'dropout of 1',
    flags({ loraDropout: 1 }),
    '--lora-dropout must be less than 1, got 1',
    undefined,
  ],
  [
    'an empty list',
    flags({ targetModules: [] }),
    '--target-modules must have at least 1 entries, got []',
    undefined,
  ],
  [
    'an element of a list',
    flags({ evalSamples: [10, -1] }),
    '--eval-samples must be at least 0, got -1',
    undefined,
  ],
  ['a KL cycle of 0', flags({ klCycle: 0 }), '--kl-cycle must be greater than 0, got 0', undefined],
  [
    'a KL cycle that is no name',
    flags({ klCycle: 'never' }),
    '--kl-cycle must be auto, epoch, rescaled or a positive whole number, got "never"',
    undefined,
  ],
])('refuses %s', (_, layer, message, hint) => {
  expect(() => parseSettings('train', [layer])).toThrow(
    expect.objectContaining({ code: 'BPEFT_USAGE', message, hint }),
  );
});

it('names the nearest setting for an unknown one', () => {
  expect(() => parseSettings('train', [file({ klLrr: 1 })])).toThrow(
    expect.objectContaining({
      message: 'x.yaml: unknown setting "kl_lrr"',
      hint: 'did you mean kl_lr?',
    }),
  );
});

it("ignores a file's settings that belong to another command, but refuses such flags", () => {
  expect(parseSettings('eval', [file({ rank: 4, samples: [0] })]).samples).toEqual([0]);
  expect(() => parseSettings('eval', [flags({ rank: 4 })])).toThrow('unknown setting "--rank"');
});

it.each([
  ['mle', { klLr: 5 }, '--kl-lr is a setting of method blob, got method mle', 'blob'],
  [
    'mle',
    { sigma: 'softplus' },
    '--sigma is a setting of method blob or bbb, got method mle',
    'blob|bbb',
  ],
  [
    'mc-dropout',
    { noise: 'shared' },
    '--noise is a setting of method blob or c-lora, got method mc-dropout',
    'blob|c-lora',
  ],
  [
    'ivon',
    { lr: 0.1 },
    '--lr is a setting of method mle, map, mc-dropout, ensemble, bbb, blob, swag, scalabl, or c-lora, got method ivon',
    'mle|map|mc-dropout|ensemble|bbb|blob|swag|scalabl|c-lora',
  ],
  [
    'blob',
    { members: 3 },
    '--members is a setting of method ensemble, got method blob',
    'ensemble',
  ],
])('refuses a flag that method %s does not know: %j', (method, given, message, theirs) => {
  const hint = `leave it out, or train with --method ${theirs}`;
  expect(() => parseSettings('train', [flags({ method, ...given })])).toThrow(
    expect.objectContaining({ code: 'BPEFT_USAGE', message, hint }),
  );
});

it('refuses a flag of another method than the default', () => {
  expect(() => parseSettings('train', [flags({ members: 3 })])).toThrow('got method blob');
});

it('lets one file serve several methods', () => {
  const shared = file({ klLr: 0.5, members: 4, rank: 2 });
  expect(mergeLayers('train', [shared, flags({ method: 'mle' })])).toEqual({
    method: 'mle',
    rank: 2,
  });
  expect(parseSettings('train', [shared, flags({ method: 'ensemble' })]).members).toBe(4);
});

it('leaves the method open to the run that is resumed', () => {
  expect(parseSettings('train', [flags({ resume: true, members: 5 })]).members).toBe(5);
});

it('refuses an option on which the answers of the adapter at hand do not depend', () => {
  for (const [trained, given, message] of [
    [
      'mle',
      { noise: 'shared' },
      '--noise is a setting of method blob, c-lora, or tfb, got an adapter of method mle',
    ],
    [
      'ivon',
      { sigma: 'square' },
      '--sigma is a setting of method blob, bbb, or tfb, got an adapter of method ivon',
    ],
    [
      'mle',
      { stochasticLayers: 'last:1' },
      '--stochastic-layers is a setting of method mc-dropout, bbb, blob, ivon, swag, scalabl, c-lora, laplace, or tfb, got an adapter of method mle',
    ],
    [
      'ensemble',
      { sampling: 'plain' },
      '--sampling is a setting of method blob, bbb, ivon, scalabl, c-lora, swag, laplace, or tfb, got an adapter of method ensemble',
    ],
  ] as const) {
    const hint = 'leave it out: its answers do not depend on it';
    expect(() => parseSettings('predict', [flags(given)], trained)).toThrow(
      expect.objectContaining({ code: 'BPEFT_USAGE', message, hint }),
    );
    // one file for many runs
    expect(parseSettings('predict', [file(given)], trained)).not.toMatchObject(given);
  }
  expect(() => parseSettings('eval', [flags({ link: 'bridge' })], 'blob')).toThrow(
    '--link is a setting of method laplace, got an adapter of method blob',
  );
  expect(parseSettings('eval', [flags({ link: 'bridge' })], 'laplace').link).toBe('bridge');
  expect(() => parseSettings('eval', [flags({ link: 'bridge' })], 'tfb')).toThrow(
    '--link is a setting of method laplace, got an adapter of method tfb',
  );
  expect(
    parseSettings('eval', [flags({ sigma: 'softplus', sampling: 'plain' })], 'tfb'),
  ).toMatchObject({ sigma: 'softplus', sampling: 'plain' });
  // What an adapter without a record depends on is not known, nor what one of a later method does.
  for (const trained of ['blob', 'tfb', 'later', undefined]) {
    expect(parseSettings('predict', [flags({ noise: 'shared' })], trained).noise).toBe('shared');
  }
});

it('takes all of another protocol than the run had, and of the same what the run had set', () => {
  const run = file({ protocol: 'corrected', template: 'reference', metricMean: 'rows' });
  const own = { template: 'reference', metricMean: 'rows' };
  expect(mergeLayers('eval', [run, flags({ protocol: 'corrected' })])).toMatchObject(own);
  expect(mergeLayers('eval', [run, flags({})])).toMatchObject(own);
  const other = flags({ protocol: 'reference', metricMean: 'rows' });
  expect(mergeLayers('eval', [run, other])).toEqual({ protocol: 'reference', metricMean: 'rows' });
});

it.each([
  [{ anchors: 4, method: 'laplace' }, '--anchors is a setting of method tfb, got method laplace'],
  [{ curvatureRank: 4 }, '--curvature-rank is a setting of method laplace, got method tfb'],
  // Laplace's approximation draws nothing.
  [{ samples: 4, method: 'laplace' }, '--samples is a setting of method tfb, got method laplace'],
  [
    { sampling: 'plain', method: 'laplace' },
    '--sampling is a setting of method tfb, got method laplace',
  ],
  [
    { noise: 'shared', method: 'laplace' },
    '--noise is a setting of method tfb, got method laplace',
  ],
])('refuses %j of another method that makes adapters Bayesian', (given, message) => {
  const hint = expect.stringMatching(/^leave it out, or give --method (tfb|laplace)$/);
  expect(() => parseSettings('bayesianize', [flags(given)])).toThrow(
    expect.objectContaining({ code: 'BPEFT_USAGE', message, hint }),
  );
  // One file for both.
  expect(parseSettings('bayesianize', [file(given)])).not.toMatchObject(given);
});

it('takes what the looks of TFB draw by', () => {
  const given = { samples: 4, sampling: 'plain', noise: 'shared' };
  expect(parseSettings('bayesianize', [flags(given)])).toMatchObject(given);
});

it.each([
  [{ seed: 'x' }, '--seed must be a number, got "x"'],
  [{ seed: 1.5 }, '--seed must be a whole number, got 1.5'],
  [{ resume: 'yes' }, '--resume must be true or false, got "yes"'],
  [{ labels: 'a' }, '--labels must be a list, got "a"'],
  [{ model: 7 }, '--model must be a text, got 7'],
  [{ model: '' }, '--model must have at least 1 characters, got ""'],
  [{ targetModules: [] }, '--target-modules must have at least 1 entries, got []'],
  [{ rank: 0 }, '--rank must be greater than 0, got 0'],
  [{ loraDropout: 1 }, '--lora-dropout must be less than 1, got 1'],
  [{ trainSamples: 1025 }, '--train-samples must be at most 1024, got 1025'],
])('says of %j what it must be', (given, message) => {
  expect(() => parseSettings('train', [flags(given)])).toThrow(
    expect.objectContaining({ code: 'BPEFT_USAGE', message }),
  );
});

it('names the file of a wrong value, and no file of a flag', () => {
  expect(() => parseSettings('train', [file({ seed: 'x' })])).toThrow(
    'x.yaml: seed must be a number',
  );
  expect(() => parseSettings('train', [flags({ klLrr: 1 })])).toThrow(
    /^unknown setting "--kl-lrr"/,
  );
});

it('takes null for what is not set, also of the method', () => {
  const layers = [file({ method: 'mle' }), flags({ method: null, lr: null })];
  expect(parseSettings('train', layers).method).toBe('mle');
  expect(() => parseSettings('train', [...layers, flags({ klLr: 1 })])).toThrow('got method mle');
});
