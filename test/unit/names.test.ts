import { expect, it } from 'vitest';
import { SCHEMAS, SETTINGS } from '../../ts/config/schema.ts';
import {
  camelCase,
  kebabCase,
  snakeCase,
  toCamelKeys,
  toSnakeKeys,
  withoutFlags,
} from '../../ts/names.ts';

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

it('renames fields at every depth and back, but not what is keyed by data', () => {
  const memory = {
    nTruncated: 1,
    blockTypes: { Q4_K: 2 },
    plan: [{ labelTokens: { A: 65, anotherB: 66 }, klLr: null }],
    metrics: { mutualInformation: 0.5 },
  };
  const file = {
    n_truncated: 1,
    block_types: { Q4_K: 2 },
    plan: [{ label_tokens: { A: 65, anotherB: 66 }, kl_lr: null }],
    metrics: { mutual_information: 0.5 },
  };
  expect(toSnakeKeys({ ...memory, absent: undefined })).toEqual(file);
  expect(toCamelKeys(file)).toEqual(memory);
});

it.each([
  ['--kl-lr must be at most 1', 'klLr must be at most 1'],
  [
    'add --resume or --overwrite, or give another --out',
    'add resume: true or overwrite: true, or give another out',
  ],
  ['name the classes: --labels NAME,NAME', 'name the classes: labels NAME,NAME'],
  [
    'evaluate it again with: bpeft eval --run runs/x',
    'evaluate it again with: bpeft eval --run runs/x',
  ],
  ['install bpeft again without --omit=optional', 'install bpeft again without --omit=optional'],
  ['raise the limit (ulimit -u, --pids-limit)', 'raise the limit (ulimit -u, --pids-limit)'],
])('says %j without flags', (text, expected) => {
  expect(withoutFlags(text)).toBe(expected);
});

it('knows which settings are switches', () => {
  for (const [key, { in: schemas }] of Object.entries(SETTINGS)) {
    const isSwitch = Object.values(schemas).some(
      (schema) => schema.safeParse(true).success && schema.safeParse(false).success,
    );
    expect([key, withoutFlags(`--${kebabCase(key)}`)]).toEqual([
      key,
      isSwitch ? `${key}: true` : key,
    ]);
  }
});
