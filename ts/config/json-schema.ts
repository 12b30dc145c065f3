/** The JSON Schema of config files, for editors: the settings under their `snake_case` names. */

import { z } from 'zod';
import { snakeCase } from '../names.ts';
import { SCHEMAS, SETTINGS } from './schema.ts';
import type { CommandName } from './setting.ts';

/** Permits what a file may hold: settings of other commands too, and null, which sets nothing. */
export function configJsonSchema(command: CommandName): Record<string, unknown> {
  const schema = z.toJSONSchema(SCHEMAS[command], { io: 'input' });
  const own = schema.properties ?? {};
  const properties = Object.entries(SETTINGS).map(([key, setting]) => [
    snakeCase(key),
    orNull(own[key] ?? { description: `of ${Object.keys(setting.in).join(', ')}; ignored here` }),
  ]);
  return {
    ...schema,
    title: `bpeft ${command}`,
    properties: { $schema: { type: 'string' }, ...Object.fromEntries(properties) },
  };
}

function orNull(property: unknown): unknown {
  const { description, default: byDefault, ...rule } = property as Record<string, unknown>;
  const told = byDefault === undefined ? { description } : { description, default: byDefault };
  return Object.keys(rule).length === 0 ? told : { ...told, anyOf: [rule, { type: 'null' }] };
}
