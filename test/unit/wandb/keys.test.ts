import { expect, it } from 'vitest';
import { evaluationKey, evaluationRow, posteriorRow, stepRow } from '../../../ts/wandb/keys.ts';
import { evaluationDone, stepDone } from '../../support/run-events.ts';

it('names an update as the reference does, and ours beside it', () => {
  expect(stepRow(stepDone(2))).toEqual({
    ...{
      train_acc: 75,
      train_nll_loss: 0.75,
      lr: 2e-4,
      kl_loss: 74.5,
      elbo_loss: 298.75,
      pi: 0.25,
      kl: 298,
    },
    ...{
      kl_lr: 0.01,
      'sigma/mean': 0.002,
      step: 2,
      grad_norm: 2.5,
      tokens_per_s: 2000,
      step_ms: 250,
    },
  });
});

it('names nothing of a posterior where there is none', () => {
  const row = stepRow(stepDone(1, { kl: null, klWeight: null, klLr: null, sigmaMean: null }));
  expect(Object.keys(row)).toEqual([
    ...['train_acc', 'train_nll_loss', 'lr', 'step', 'grad_norm', 'tokens_per_s', 'step_ms'],
  ]);
});

it('names the quantiles of each layer', () => {
  const layers = [{ name: 'lm_head', values: [0.1, 0.2, 0.3] }];
  const event = { type: 'posterior', step: 4, fractions: [0.05, 0.5, 0.95], layers } as const;
  expect(posteriorRow(event)).toEqual({
    ...{ 'sigma/lm_head/q05': 0.1, 'sigma/lm_head/q50': 0.2, 'sigma/lm_head/q95': 0.3, step: 4 },
  });
});

it('names what classes and flips are scored by', () => {
  const first = evaluationKey(evaluationDone());
  const { result } = evaluationDone();
  const { mcc, f1, macroF1 } = result.metrics;
  expect(evaluationRow(evaluationDone(), first)).toMatchObject({
    ...{ val_mcc: mcc, val_f1: f1, val_macro_f1: macroF1 },
  });
  const flipped = (more: object) =>
    evaluationRow(
      evaluationDone({ result: { ...result, samples: 0, flipRatio: 0.25, ...more } }),
      first,
    );
  expect(flipped({})).toMatchObject({ val_flip_ratio: 0.25 });
  expect(flipped({ split: 'test' })).toMatchObject({ 'arc_easy-test/val_flip_ratio': 0.25 });
});

it('gives the first evaluation the bare names and others their own', () => {
  const first = evaluationKey(evaluationDone());
  const names = (row: object) => Object.keys(row).filter((name) => /val_acc|std/.test(name));
  expect(names(evaluationRow(evaluationDone({ isFinal: false }), first))).toEqual([
    'val_acc',
    'std',
  ]);
  expect(names(evaluationRow(evaluationDone(), first))).toEqual([
    'val_acc',
    'final_val_acc',
    'std',
  ]);
  const { result } = evaluationDone();
  const mean = evaluationDone({ result: { ...result, samples: 0, std: null } });
  expect(names(evaluationRow(mean, first))).toEqual([
    'arc_easy-validation-n0/val_acc',
    'arc_easy-validation-n0/final_val_acc',
  ]);
});
