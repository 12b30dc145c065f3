import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { configJsonSchema } from '../../../ts/config/json-schema.ts';
import { COMMAND_NAMES } from '../../../ts/config/setting.ts';

const configs = join(import.meta.dirname, '../../../cmd/configs');

function permits(command: (typeof COMMAND_NAMES)[number], file: unknown): boolean {
  return z.fromJSONSchema(configJsonSchema(command)).safeParse(file).success;
}

it('has the rules, defaults and texts of the settings, by the names that files use', () => {
  expect(configJsonSchema('train').properties).toMatchObject({
    kl_lr: {
      description: expect.stringContaining('learning rate of SGD'),
      default: 0.01,
      anyOf: [{ type: 'number', exclusiveMinimum: 0 }, { type: 'null' }],
    },
    eval_samples: { default: [10] },
  });
});

it.each(readdirSync(configs).filter((name) => name.endsWith('.json')))(
  'permits %s in every command',
  (name) => {
    const file = JSON.parse(readFileSync(join(configs, name), 'utf8')) as Record<string, unknown>;
    for (const command of COMMAND_NAMES) {
      const { dataset: _list, ...shared } = file; // train names one, eval several
      expect([command, permits(command, shared)]).toEqual([command, true]);
    }
  },
);

it.each([
  ['$schema', { $schema: './bpeft.schema.json', lr: 0.1 }, true],
  ['null for what is not set', { rank: null }, true],
  ["another command's settings", { samples: [10], on_long: 'error' }, true],
  ["another method's settings", { method: 'mle', kl_lr: 0.1 }, true],
  ['a name that no command knows', { kl_lrr: 0.1 }, false],
  ['a value that breaks its rule', { lr: -1 }, false],
  ['camelCase', { klLr: 0.1 }, false],
])('says of %s in a file of train: %j is permitted, %s', (_, file, expected) => {
  expect(permits('train', file)).toBe(expected);
});
