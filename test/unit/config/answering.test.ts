/** Defaults and refusals of the commands that ask a trained adapter. */

import { beforeAll, expect, it } from 'vitest';
import { parseSettings } from '../../../ts/config/parse.ts';
import {
  resolveBayesianize,
  resolveEval,
  resolvePredict,
  resolveTrain,
} from '../../../ts/config/resolve.ts';
import { speakFlags } from '../../../ts/errors.ts';

beforeAll(speakFlags);

type Values = Readonly<Record<string, unknown>>;
const layer = (values: Values) => [{ origin: 'option', values }] as const;
const evaluation = (values: Values) => resolveEval(parseSettings('eval', layer(values)));
const prediction = (values: Values) => resolvePredict(parseSettings('predict', layer(values)));
const bayesianized = (values: Values) =>
  resolveBayesianize(parseSettings('bayesianize', layer(values)));
const training = (values: Values) => resolveTrain(parseSettings('train', layer(values)));

const model = 'builtin:tiny';
const dataset = 'ARC-Easy';

it('takes batches of 16, in an evaluation of protocol reference of 4, or as many as it is told', () => {
  const asked = { model, dataset: [dataset] };
  expect(evaluation(asked).evalBatchSize).toBe(16);
  expect(evaluation({ ...asked, protocol: 'reference' }).evalBatchSize).toBe(4);
  expect(evaluation({ ...asked, evalBatchSize: 7 }).evalBatchSize).toBe(7);
  expect(prediction({ model }).evalBatchSize).toBe(16);
  expect(prediction({ model, evalBatchSize: 7 }).evalBatchSize).toBe(7);
  const search = { model, dataset, method: 'tfb', out: 'x' };
  expect(bayesianized(search).evalBatchSize).toBe(16);
  expect(bayesianized({ ...search, evalBatchSize: 7 }).evalBatchSize).toBe(7);
});

it('fills in the preset of the protocol', () => {
  for (const protocol of ['corrected', 'reference'] as const) {
    const template = { template: protocol };
    expect(evaluation({ model, dataset: [dataset], protocol })).toMatchObject(template);
    expect(prediction({ model, protocol })).toMatchObject(template);
    expect(bayesianized({ model, dataset, method: 'tfb', out: 'x', protocol })).toMatchObject(
      template,
    );
  }
});

it.each([
  ['--model', () => evaluation({ dataset: [dataset] }), /org\/name/],
  ['--dataset', () => evaluation({ model }), /bpeft datasets list/],
  ['--model', () => prediction({}), /org\/name/],
  ['--model', () => bayesianized({ dataset, method: 'tfb', out: 'x' }), /org\/name/],
  ['--dataset', () => bayesianized({ model, method: 'tfb', out: 'x' }), /bpeft datasets list/],
  ['--out', () => bayesianized({ model, dataset, method: 'tfb' }), /name a folder/],
  ['--model', () => training({ dataset }), /org\/name/],
  ['--dataset', () => training({ model }), /bpeft datasets list/],
])('requires %s', (flag, ask, hint) => {
  const refusal = {
    code: 'BPEFT_USAGE',
    message: `${flag} is required`,
    hint: expect.stringMatching(hint),
  };
  expect(ask).toThrow(expect.objectContaining(refusal));
});

it('resumes or overwrites, not both', () => {
  const run = { model, dataset };
  expect(() => training({ ...run, resume: true, overwrite: true })).toThrow('exclude each other');
  expect(training({ ...run, resume: true }).resume).toBe(true);
  expect(training({ ...run, overwrite: true }).overwrite).toBe(true);
});
