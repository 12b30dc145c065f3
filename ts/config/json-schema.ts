/** The schema of config files as JSON Schema, for editors: the same settings under their `snake_case` names. */

import { z } from 'zod';
import { toSnakeKeys } from '../names.ts';
import { type CommandName, SCHEMAS } from './schema.ts';

export function configJsonSchema(command: CommandName): Record<string, unknown> {
  const schema = z.toJSONSchema(SCHEMAS[command], { io: 'input' });
  return { ...schema, title: `bpeft ${command}`, properties: toSnakeKeys(schema.properties ?? {}) };
}
