import { expect, it } from 'vitest';
import { parseSettings } from '../../../../ts/config/parse.ts';
import { resolveTrain } from '../../../../ts/config/resolve.ts';
import { forModel, headOf } from '../../../../ts/run/training/adapted-layers.ts';

const config = (more: object = {}) =>
  resolveTrain(
    parseSettings('train', [{ origin: 'option', values: { model: 'm', dataset: 'd', ...more } }]),
  );

const BERT = {
  kind: 'encoder',
  architecture: 'bert',
  layerNames: { q_proj: 'query', v_proj: 'value', dense: 'pooler.dense', classifier: 'classifier' },
} as const;
const ROBERTA = {
  kind: 'encoder',
  architecture: 'roberta',
  layerNames: { ...BERT.layerNames, dense: 'classifier.dense', classifier: 'classifier.out_proj' },
} as const;
const DEBERTA = {
  kind: 'encoder',
  architecture: 'deberta-v2',
  layerNames: {
    q_proj: 'query_proj',
    v_proj: 'value_proj',
    dense: 'pooler.dense',
    classifier: 'classifier',
  },
} as const;
const MODERNBERT = {
  kind: 'encoder',
  architecture: 'modernbert',
  layerNames: { qkv_proj: 'Wqkv', dense: 'head.dense', classifier: 'classifier' },
} as const;
const PHI3 = {
  kind: 'decoder',
  architecture: 'llama',
  layerNames: { qkv_proj: 'qkv_proj', o_proj: 'o_proj', lm_head: 'lm_head' },
} as const;
const LLAMA = { kind: 'decoder', architecture: 'llama', layerNames: {} } as const;

it('adapts query and value and trains the head of an encoder, unless told otherwise', () => {
  const found = forModel(config(), BERT);
  expect([found.targetModules, found.head]).toEqual([['query', 'value'], 'trained']);
  expect(headOf(found, 3)).toEqual({ classes: 3, trained: true, fresh: false });
  expect(forModel(config(), LLAMA).targetModules).toEqual(['q_proj', 'v_proj', 'lm_head']);
  expect(headOf(forModel(config(), LLAMA), 3)).toBeUndefined();
});

it.each([
  [{ labelTokens: 'last' }, 'labelTokens'],
  [{ protocol: 'reference', addSpace: true }, 'addSpace: true'],
  [{ eos: 'llama-class' }, 'eos'],
  [{ truncation: 'right' }, 'truncation'],
  [{ protocol: 'reference', truncation: 'context' }, 'truncation'],
])('refuses %j, of prompts, for an encoder', (given, name) => {
  const message = `${name} is about prompts, and this bert is an encoder`;
  expect(() => forModel(config(given), BERT)).toThrow(
    expect.objectContaining({ code: 'BPEFT_USAGE', message }),
  );
  forModel(config(given), LLAMA);
});

it('takes whole protocols for an encoder, and what decides its texts and classes', () => {
  for (const given of [
    {},
    { protocol: 'reference' },
    { template: 'reference', classes: 'dataset' },
  ])
    forModel(config(given), BERT);
});

it("adds a head's own layers for --head lora, and no pooler", () => {
  const targets = (info: typeof BERT | typeof ROBERTA | typeof DEBERTA | typeof MODERNBERT) =>
    forModel(config({ head: 'lora' }), info).targetModules;
  expect(targets(BERT)).toEqual(['query', 'value', 'classifier']);
  expect(targets(ROBERTA)).toEqual(['query', 'value', 'classifier.dense', 'classifier.out_proj']);
  expect(targets(DEBERTA)).toEqual(['query_proj', 'value_proj', 'pooler.dense', 'classifier']);
  expect(targets(MODERNBERT)).toEqual(['Wqkv', 'classifier']);
  expect(headOf(forModel(config({ head: 'frozen' }), BERT), 2)).toMatchObject({ trained: false });
});

it('adapts the one layer of queries, keys and values where they have one', () => {
  expect(forModel(config(), PHI3).targetModules).toEqual(['qkv_proj', 'lm_head']);
  expect(forModel(config(), MODERNBERT).targetModules).toEqual(['Wqkv']);
});

it("takes the engine's names for those of transformers, and records the latter", () => {
  const found = forModel(config({ targetModules: ['q_proj', 'value'] }), BERT);
  expect(found.targetModules).toEqual(['query', 'value']);
});

it.each([
  [
    'a layer that the model lacks',
    { targetModules: ['lm_head'] },
    BERT,
    'must be layers of bert, got lm_head',
  ],
  [
    'a layer that a decoder has within another',
    { targetModules: ['q_proj'] },
    PHI3,
    'must be layers of llama, got q_proj',
  ],
  [
    'dropout of an encoder in a decoder',
    { baseDropout: 0.1 },
    LLAMA,
    'baseDropout is the dropout of an encoder',
  ],
  ['a head in a decoder', { head: 'lora' }, LLAMA, 'head is about the head of an encoder'],
  [
    'a fresh head in a decoder',
    { freshHead: true },
    LLAMA,
    'freshHead: true is about the head of an encoder',
  ],
])('refuses %s', (_, settings, info, message) => {
  expect(() => forModel(config(settings), info)).toThrow(message);
});
