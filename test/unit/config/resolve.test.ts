import { beforeAll, expect, it } from 'vitest';
import { parseSettings } from '../../../ts/config/parse.ts';
import { fileName, resolveTrain } from '../../../ts/config/resolve.ts';
import { findModel, shareableName } from '../../../ts/engine/model-source.ts';
import { speakFlags } from '../../../ts/errors.ts';

beforeAll(speakFlags);

function resolved(values: Record<string, unknown>) {
  const all = { model: 'builtin:random', dataset: 'ARC-Easy', ...values };
  return resolveTrain(parseSettings('train', [{ origin: 'option', values: all }]));
}

it('fills in the corrected protocol', () => {
  const { klForm, order, lastBatch, classes, evalBatchSize, epochs } = resolved({});
  expect({ klForm, order, lastBatch, classes, evalBatchSize, epochs }).toEqual({
    klForm: 'exact',
    order: 'shuffled',
    lastBatch: 'keep',
    classes: 'item',
    evalBatchSize: 16,
    epochs: 3,
  });
});

it('fills in protocol reference, whose evaluation uses the batch size of training', () => {
  const { klForm, order, evaluationTail, evalBatchSize } = resolved({
    protocol: 'reference',
    batchSize: 8,
  });
  expect({ klForm, order, evaluationTail, evalBatchSize }).toEqual({
    klForm: 'reference',
    order: 'file',
    evaluationTail: 'drop',
    evalBatchSize: 8,
  });
});

it('lets each field of the preset be set alone', () => {
  const config = resolved({
    protocol: 'reference',
    order: 'shuffled',
    klForm: 'exact',
    addSpace: true,
  });
  expect([config.order, config.klForm, config.addSpace, config.lastBatch]).toEqual([
    'shuffled',
    'exact',
    true,
    'drop',
  ]);
});

it('refuses a space before labels that have it already', () => {
  expect(() => resolved({ addSpace: true })).toThrow(
    expect.objectContaining({
      code: 'BPEFT_USAGE',
      message: '--add-space is of --label-tokens last, got continuation',
    }),
  );
});

it('leaves the epochs open when --max-steps is given', () => {
  expect(resolved({ maxSteps: 10 }).epochs).toBeUndefined();
});

it('names the run folder after method, dataset and seed', () => {
  expect(resolved({ seed: 2 }).out).toBe('runs/blob-arc-easy-seed2');
  expect(resolved({ method: 'mle', dataset: './own/My Data.jsonl' }).out).toBe(
    'runs/mle-my-data-seed1',
  );
  expect(fileName('a/b/')).toBe('b');
});

it.each([
  [{ method: 'tfb' }, 'BPEFT_USAGE', /method tfb makes a trained adapter Bayesian/],
  [{ device: 'gpu' }, 'BPEFT_USAGE', /must be auto, cpu or cuda\[:N\], got "gpu"/],
  [{ model: undefined }, 'BPEFT_USAGE', /--model is required/],
  [{ resume: true, overwrite: true }, 'BPEFT_USAGE', /exclude each other/],
])('refuses %j', (values, code, message) => {
  expect(() => resolved(values)).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) }),
  );
});

it('takes a model for a path when it exists, and keeps the path as it was given', async () => {
  const source = async (model: string) => (await findModel(model)).source;
  expect(await source('package.json')).toEqual({ kind: 'file', path: 'package.json' });
  expect(await source('./docs/../ts')).toEqual({ kind: 'file', path: './docs/../ts' });
  expect(await source('builtin:random')).toEqual({ kind: 'random', seed: 1 });
  expect(await source('builtin:tiny')).toMatchObject({
    kind: 'file',
    path: expect.stringMatching(/assets\/tiny\.gguf$/),
  });
});

it.each([
  [
    'builtin:randm',
    'BPEFT_USAGE',
    'did you mean "builtin:random"? known: builtin:tiny, builtin:random',
  ],
  ['missing.gguf', 'BPEFT_MODEL_NOT_FOUND', expect.stringMatching(/^check the path.*builtin:tiny/)],
  ['models/missing.gguf', 'BPEFT_MODEL_NOT_FOUND', expect.stringMatching(/^check the path/)],
  ['./nowhere', 'BPEFT_MODEL_NOT_FOUND', expect.stringMatching(/^check the path.*builtin:tiny/)],
  [
    'Tiny',
    'BPEFT_MODEL_NOT_FOUND',
    expect.stringMatching(/^did you mean builtin:tiny\?.*org\/name/),
  ],
  ['org/model@../..', 'BPEFT_USAGE', expect.stringContaining('org/name@revision')],
])('refuses the model %s', async (model, code, hint) => {
  const message = expect.stringContaining(model.replace(/.*@/, ''));
  await expect(findModel(model)).rejects.toMatchObject({ code, message, hint });
});

it('never shares an absolute path', () => {
  expect(shareableName('/home/someone/models/x.gguf')).toBe('x.gguf');
  expect(shareableName('../x.gguf')).toBe('x.gguf');
  expect(shareableName('models/x.gguf')).toBe('models/x.gguf');
});
