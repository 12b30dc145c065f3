/** A config file (`.json`, `.yaml`, `.yml`) as a layer of settings; keys in `snake_case`. */

import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { BpeftError } from '../errors.ts';
import { camelCase, snakeCase } from '../names.ts';
import type { Layer } from './parse.ts';

/**
 * Also takes the `config.json` of a run folder, whose settings are under `config`.
 * @throws {BpeftError} `BPEFT_USAGE`: missing, unreadable or malformed.
 */
export async function readConfigFile(path: string): Promise<Layer> {
  const kind = extname(path).toLowerCase();
  if (!['.json', '.yaml', '.yml'].includes(kind)) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `--config must name a .json or .yaml file, got ${JSON.stringify(path)}`,
    );
  }
  let content: unknown;
  try {
    const text = await readFile(path, 'utf8');
    content = kind === '.json' ? JSON.parse(text) : (await import('yaml')).parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpeftError('BPEFT_USAGE', `cannot read config file ${path}: ${reason}`, { cause });
  }
  if (!isMapping(content)) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `${path} must hold one mapping of settings, got ${JSON.stringify(content)}`,
    );
  }
  const settings = content.format === 1 && isMapping(content.config) ? content.config : content;
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(settings)) {
    if (key === '$schema') continue; // what editors check the file by
    if (key !== snakeCase(camelCase(key))) {
      throw new BpeftError(
        'BPEFT_USAGE',
        `${path}: settings are written in snake_case, got ${JSON.stringify(key)}`,
        {
          hint: `did you mean ${snakeCase(camelCase(key))}?`,
        },
      );
    }
    values[camelCase(key)] = value;
  }
  return { origin: 'file', source: path, values };
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
