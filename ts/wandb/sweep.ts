/**
 * Parameters that a sweep's agent chose: the file that WANDB_SWEEP_PARAM_PATH names, as a layer of
 * settings.
 */

import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import type { Layer } from '../config/parse.ts';
import { BpeftError } from '../errors.ts';
import { camelCase } from '../names.ts';

/** `lr: { desc: null, value: 0.001 }`, beside `wandb_version: 1`. */
const Parameters = z.record(
  z.string(),
  z.union([z.looseObject({ value: z.unknown() }), z.number()]),
);

/**
 * Null without the variable.
 * @throws {BpeftError} `BPEFT_USAGE`: it names no such file
 */
export async function sweepLayer(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Layer | null> {
  const path = environment.WANDB_SWEEP_PARAM_PATH;
  if (path === undefined || path === '') return null;
  const values: Record<string, unknown> = {};
  try {
    const parameters = Parameters.parse(parse(await readFile(path, 'utf8')));
    for (const [name, parameter] of Object.entries(parameters)) {
      if (typeof parameter === 'object') values[camelCase(name)] = parameter.value;
    }
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? 'it is no mapping of parameters' : String(cause);
    throw new BpeftError('BPEFT_USAGE', `cannot read WANDB_SWEEP_PARAM_PATH ${path}: ${reason}`, {
      cause,
    });
  }
  return { origin: 'file', source: path, values };
}
