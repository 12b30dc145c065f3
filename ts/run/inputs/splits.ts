/** From dataset names and splits to tokenised rows. */

import type { TrainConfig } from '../../config/resolve.ts';
import { type DatasetSource, resolveDataset } from '../../datasets/registry.ts';
import type { Dataset } from '../../datasets/rows/item.ts';
import { type EncodedDataset, encodeDataset } from '../../datasets/tokens/encode.ts';
import type { BayesianModel } from '../../engine/model.ts';
import { BpeftError } from '../../errors.ts';
import type { Listener } from '../../events/sinks.ts';
import type { DataProtocol } from '../../protocol/data-protocol.ts';

/** The settings that decide which rows are read and how they become tokens. */
export type DataSettings = DataProtocol &
  Pick<TrainConfig, 'dataDir' | 'task' | 'labels' | 'split' | 'maxSeqLen' | 'protocol'>;

/** A dataset's rows as tokens, without their texts. */
export interface Split {
  readonly encoded: EncodedDataset;
  readonly family: string;
  readonly labelNames: readonly string[] | null;
  readonly record: DatasetRecord;
}

/** What a run records about the data it used. */
export interface DatasetRecord {
  readonly name: string;
  readonly split: string;
  readonly rows: number;
  readonly files: Dataset['files'];
}

/** Who tokenises, and who is told. */
export interface Encoding {
  readonly model: BayesianModel;
  readonly signal: AbortSignal | undefined;
  readonly emit: Listener;
}

export function openDataset(name: string, settings: DataSettings): Promise<DatasetSource> {
  const { dataDir, task, labels } = settings;
  return resolveDataset(name, { dataDir, task, labels });
}

/**
 * Results and prediction files are told apart by dataset and split.
 * @throws {BpeftError} `BPEFT_USAGE`: two of the evaluated ones have the same.
 */
export function refuseSameName(datasets: readonly Dataset[]): void {
  const seen = new Set<string>();
  for (const { name, split } of datasets) {
    const key = `${name} ${split}`;
    if (seen.has(key)) {
      throw new BpeftError('BPEFT_USAGE', `evaluated datasets must have different names, got ${key} twice`, {
        hint: 'rename one of the folders or files, or evaluate them one by one',
      });
    }
    seen.add(key);
  }
}

/** Tokenises a dataset's rows and tells what was cut. */
export async function encodeSplit(dataset: Dataset, settings: DataSettings, run: Encoding): Promise<Split> {
  const encoded = await encodeDataset(dataset, run.model, {
    protocol: settings,
    maxSeqLen: settings.maxSeqLen,
    noiseOf: settings.protocol === 'reference' ? 'line' : 'question',
    signal: run.signal,
  });
  tellCuts(encoded, settings.maxSeqLen, run.emit);
  return {
    encoded,
    family: dataset.family,
    labelNames: dataset.labelNames,
    record: { name: dataset.name, split: dataset.split, rows: dataset.items.length, files: dataset.files },
  };
}

/** Warns of what tokenising has noticed and cut. */
export function tellCuts(encoded: EncodedDataset, maxSeqLen: number, emit: Listener): void {
  for (const message of encoded.notices) emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  const { name, split, truncated, examples } = encoded;
  if (truncated === 0) return;
  const message = `${name} ${split}: ${truncated} of ${examples.length} prompts were cut to ${maxSeqLen} tokens`;
  emit({ type: 'warning', code: 'BPEFT_PROMPTS_TRUNCATED', message });
}
