/**
 * `adapter/bpeft.json`: what PEFT's own files do not hold. Without it (plain PEFT, the reference's checkpoints)
 * an adapter loads all the same; then flags say what is missing.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PRECISIONS, QUANTIZATIONS } from '../../engine/arithmetic.ts';
import { BpeftError } from '../../errors.ts';
import { replaceJson } from './atomic.ts';

const AdapterRecordFile = z.object({
  format: z.literal(1),
  method: z.string(),
  sigma: z.enum(['square', 'softplus']).nullable(),
  prior_std: z.number().positive().nullable(),
  /** Of an ensemble; 1 otherwise. */
  members: z.int().positive().default(1),
  protocol: z.enum(['corrected', 'reference']),
  /** Class names of a classification dataset, in order; null: each row has its own choices. */
  labels: z.array(z.string()).nullable(),
  label_tokens: z.record(z.string(), z.int().nonnegative()),
  base_model: z.object({ sha256: z.string(), name: z.string() }),
  /** How the base model was multiplied and kept; earlier records do not say. */
  arithmetic: z.object({ precision: z.enum(PRECISIONS), quantize: z.enum(QUANTIZATIONS) }).optional(),
  dataset: z.string(),
  family: z.string(),
  /** How prompts were written, by the settings' names. */
  prompt: z.object({
    template: z.enum(['reference', 'corrected']),
    classes: z.enum(['dataset', 'item']),
    label_tokens: z.enum(['last', 'continuation']),
    add_space: z.boolean(),
    eos: z.enum(['llama-class', 'never']),
    truncation: z.enum(['right', 'context']),
    max_seq_len: z.int().positive(),
  }),
});
export type AdapterRecord = z.output<typeof AdapterRecordFile>;

const FILE = 'bpeft.json';

export async function writeAdapterRecord(folder: string, record: AdapterRecord): Promise<void> {
  await replaceJson(join(folder, FILE), record);
}

/** Null when the folder has none. @throws {BpeftError} `BPEFT_ADAPTER`: malformed, or of a later format. */
export async function readAdapterRecord(folder: string): Promise<AdapterRecord | null> {
  const path = join(folder, FILE);
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

/** The record's settings by the library's names, as a layer below flags. */
export function recordSettings(record: AdapterRecord): Record<string, unknown> {
  return {
    protocol: record.protocol,
    ...record.arithmetic,
    ...(record.labels === null ? {} : { labels: record.labels }),
    template: record.prompt.template,
    classes: record.prompt.classes,
    labelTokens: record.prompt.label_tokens,
    addSpace: record.prompt.add_space,
    eos: record.prompt.eos,
    truncation: record.prompt.truncation,
    maxSeqLen: record.prompt.max_seq_len,
  };
}
