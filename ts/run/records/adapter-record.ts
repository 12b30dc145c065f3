/**
 * `adapter/bpeft.json`: what PEFT's own files do not hold. Without it (plain PEFT, the reference's
 * checkpoints) an adapter loads all the same; then flags say what is missing.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { settingsOf } from '../../config/schema.ts';
import type { Setting } from '../../config/setting.ts';
import { innerSchema } from '../../config/text.ts';
import { BpeftError } from '../../errors.ts';
import { snakeCase, toCamelKeys, toSnakeKeys } from '../../names.ts';
import { RECORD } from './adapter-files.ts';
import { replaceJson } from './atomic.ts';
import { recordedSettings } from './run-folder.ts';

/** The settings that a part of the record keeps, by the names that files use. */
function shapeOf(part: Setting['ofAdapter']): Record<string, z.core.$ZodType> {
  const kept = settingsOf('train').filter(({ setting }) => setting.ofAdapter === part);
  return Object.fromEntries(kept.map(({ key, schema }) => [snakeCase(key), innerSchema(schema)]));
}

const AdapterRecordFile = z.object({
  format: z.literal(1),
  method: z.string(),
  sigma: z.enum(['square', 'softplus', 'exp', 'squared-logistic']).nullable(),
  prior_std: z.number().positive().nullable(),
  /** How sigma was searched for; only of what was made Bayesian by a search. */
  search: z
    .object({
      sigma: z.number().nonnegative(),
      criterion: z.string(),
      tolerance: z.number(),
      anchors: z.int().positive(),
      looks: z.array(z.object({ sigma: z.number(), change: z.number(), is_within: z.boolean() })),
    })
    .optional(),
  /** The adapter that was made Bayesian. */
  made_of: z
    .object({ name: z.string(), revision: z.string().nullable(), sha256: z.string() })
    .optional(),
  /** The settings of that, as a run's `config.json` has them, and the rows that it read. */
  made_with: z
    .object({ config: z.record(z.string(), z.unknown()), rows: z.array(z.unknown()) })
    .optional(),
  /** How the precision of the prior was chosen; only of Laplace's approximation. */
  laplace: z
    .object({
      precision: z.number().positive(),
      chosen_by: z.enum(['evidence', 'validation', 'setting']),
      log_evidence: z.number(),
      determined: z.number(),
      rows: z.int().positive(),
      rank: z.int().positive(),
      stochastic_layers: z.string(),
      held_out: z
        .object({ split: z.string(), rows: z.int().positive(), nll: z.number() })
        .nullable(),
    })
    .optional(),
  /** Of an ensemble; 1 otherwise. */
  members: z.int().positive().default(1),
  protocol: z.enum(['corrected', 'reference']),
  /** Class names of a classification dataset, in order; null: each row has its own choices. */
  labels: z.array(z.string()).nullable(),
  label_tokens: z.record(z.string(), z.int().nonnegative()),
  base_model: z.object({ sha256: z.string(), name: z.string() }),
  /** How the base model was multiplied and kept; earlier records do not say. */
  arithmetic: z.object(shapeOf('arithmetic')).optional(),
  dataset: z.string(),
  /** Its rows that the adapter was trained on; earlier records do not say. */
  train_split: z.string().optional(),
  family: z.string(),
  /** How prompts were written, by the settings' names. */
  prompt: z.object(shapeOf('prompt')),
});
export type AdapterRecord = z.output<typeof AdapterRecordFile>;

export async function writeAdapterRecord(folder: string, record: AdapterRecord): Promise<void> {
  await replaceJson(join(folder, RECORD), record);
}

/**
 * Null when the folder has none. @throws {BpeftError} `BPEFT_ADAPTER`: malformed, or of a later
 * format.
 */
export async function readAdapterRecord(folder: string): Promise<AdapterRecord | null> {
  const path = join(folder, RECORD);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    return null;
  }
  try {
    return AdapterRecordFile.parse(JSON.parse(text));
  } catch (cause) {
    const reason =
      cause instanceof z.ZodError
        ? cause.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ')
        : String(cause);
    throw new BpeftError('BPEFT_ADAPTER', `${path}: ${reason}`, {
      hint: 'restore the file, or remove it and give --dataset, --protocol, --sigma, --precision and --quantize yourself',
      cause,
    });
  }
}

/** What the record keeps of a run's settings. */
export function keptByAdapter(config: object): Pick<AdapterRecord, 'arithmetic' | 'prompt'> {
  const recorded = toSnakeKeys(recordedSettings('train', config));
  const part = (name: Setting['ofAdapter']) =>
    Object.fromEntries(Object.keys(shapeOf(name)).map((key) => [key, recorded[key]]));
  return { arithmetic: part('arithmetic'), prompt: part('prompt') };
}

/** The record's settings by the library's names, as a layer below flags. */
export function recordSettings(record: AdapterRecord): Record<string, unknown> {
  return {
    protocol: record.protocol,
    ...(record.labels === null ? {} : { labels: record.labels }),
    ...toCamelKeys({ ...record.arithmetic, ...record.prompt }),
  };
}
