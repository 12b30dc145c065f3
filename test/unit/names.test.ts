import { expect, it } from 'vitest';
import { SCHEMAS } from '../../ts/config/schema.ts';
import { camelCase, kebabCase, snakeCase } from '../../ts/names.ts';

it.each([
  ['klLr', 'kl-lr', 'kl_lr'],
  ['maxSeqLen', 'max-seq-len', 'max_seq_len'],
  ['seed', 'seed', 'seed'],
])('spells %s as --%s and %s', (camel, kebab, snake) => {
  expect([kebabCase(camel), snakeCase(camel)]).toEqual([kebab, snake]);
  expect([camelCase(kebab), camelCase(snake)]).toEqual([camel, camel]);
});

it('leads back from a file or a flag to the same setting, for every setting', () => {
  for (const schema of Object.values(SCHEMAS)) {
    for (const key of Object.keys(schema.shape)) {
      expect([camelCase(snakeCase(key)), camelCase(kebabCase(key))]).toEqual([key, key]);
    }
  }
});
