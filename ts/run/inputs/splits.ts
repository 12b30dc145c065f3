/** From dataset names and splits to tokenised rows. */

import type { TrainConfig } from '../../config/resolve.ts';
import { type DatasetSource, resolveDataset } from '../../datasets/registry.ts';
import { datasetError } from '../../datasets/rows/dataset-error.ts';
import type { RowStream, SplitHead, TaskFamily } from '../../datasets/rows/item.ts';
import { taskOf } from '../../datasets/tasks/tasks.ts';
import {
  competingTokens,
  type EncodedHead,
  encodeRows,
  rowLength,
} from '../../datasets/tokens/encode.ts';
import type { EncodedSplit } from '../../datasets/tokens/packed-examples.ts';
import type { CallOptions } from '../../engine/call.ts';
import type { BayesianModel } from '../../engine/model.ts';
import { BpeftError } from '../../errors.ts';
import type { Listener } from '../../events/sinks.ts';
import { packageVersion } from '../../package-version.ts';
import type { DataProtocol } from '../../protocol/data-protocol.ts';
import type { DatasetRecord } from '../records/dataset-record.ts';
import { keptExamples } from './token-cache.ts';

/** The settings that decide which rows are read and how they become tokens. */
export type DataSettings = DataProtocol &
  Pick<TrainConfig, 'dataDir' | 'task' | 'labels' | 'columns' | 'split' | 'maxSeqLen' | 'protocol'>;

/** A dataset's rows as tokens, without their texts. */
export interface Split {
  readonly encoded: EncodedSplit;
  readonly family: string;
  readonly labelNames: readonly string[] | null;
  /** The class that the F1 of two is of. */
  readonly positive: 0 | 1;
  readonly record: DatasetRecord;
}

/** Who tokenises, and who is told. */
export interface Encoding {
  readonly model: BayesianModel;
  readonly signal: AbortSignal | undefined;
  readonly emit: Listener;
  /** Of an encoder's head. */
  readonly classes?: number | undefined;
}

export function openDataset(
  name: string,
  settings: DataSettings,
  { signal, onProgress }: CallOptions,
): Promise<DatasetSource> {
  const { dataDir, task, labels, columns } = settings;
  return resolveDataset(name, { dataDir, task, labels, columns, signal, onProgress });
}

/**
 * Results and prediction files are told apart by dataset and split.
 * @throws {BpeftError} `BPEFT_USAGE`: two of the evaluated ones have the same.
 */
export function refuseSameName(datasets: readonly SplitHead[]): void {
  const seen = new Set<string>();
  for (const { name, split } of datasets) {
    const key = `${name} ${split}`;
    if (seen.has(key)) {
      throw new BpeftError(
        'BPEFT_USAGE',
        `evaluated datasets must have different names, got ${key} twice`,
        {
          hint: 'rename one of the folders or files, or evaluate them one by one',
        },
      );
    }
    seen.add(key);
  }
}

/**
 * Tokenises a split's rows, or finds their tokens where an earlier run has left them; tells what
 * was cut.
 */
export async function encodeSplit(
  stream: RowStream,
  settings: DataSettings,
  run: Encoding,
): Promise<Split> {
  const { model, signal, emit } = run;
  const rows = forHead(stream, run.classes);
  const { name, split, family, labelNames, files, licence, hub } = rows;
  const noiseOf = noiseKind(settings);
  const options = { protocol: settings, maxSeqLen: settings.maxSeqLen, noiseOf, signal };
  const labels = await competingTokens(rows, model, settings);
  const { examples, written } = await keptExamples(
    tokenKey(rows, settings, model),
    rows,
    async (packer) => {
      for await (const some of encodeRows(rows, labels, model, options)) {
        if (packer.count + some.length > rows.rows) throw changed(rows);
        await packer.append(some);
      }
      if (packer.count !== rows.rows) throw changed(rows);
    },
  );
  if (written !== null) {
    const message = `${name} ${split}: the tokens of its ${rows.rows} rows are kept in ${written}`;
    emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  }
  const encoded: EncodedSplit = {
    name,
    split,
    examples,
    truncated: examples.truncated,
    tokens: examples.lengths.reduce((sum, length) => sum + length, 0),
    maxSeqLen: rowLength(model, options),
    labelTokens: Object.fromEntries(labels.tokens),
    notices: [...rows.notices, ...labels.notices],
  };
  tellCuts(encoded, examples.length, emit);
  return {
    encoded,
    family,
    labelNames,
    positive: positiveClass(family, settings.template, model.info.kind),
    record: { name, split, rows: rows.rows, licence, hub, files },
  };
}

function positiveClass(
  family: TaskFamily,
  template: DataProtocol['template'],
  kind: 'decoder' | 'encoder',
): 0 | 1 {
  return taskOf(family).positive?.(template, kind === 'encoder' ? 'texts' : 'prompt') ?? 1;
}

/** @throws {BpeftError} `BPEFT_DATASET`: a row has more choices than the head classes. */
function forHead(rows: RowStream, classes: number | undefined): RowStream {
  if (classes === undefined) return rows;
  const { name, split, widest } = rows;
  if (widest.choices.length <= classes) return { ...rows, classCount: classes };
  const count = widest.choices.length;
  throw datasetError(
    widest.place,
    `${name} ${split} must have at most the ${classes} classes of the head, got ${count} choices`,
    { hint: 'train on rows with as many choices' },
  );
}

/** Protocol `reference` gives a row the noise of its line. */
function noiseKind({ protocol }: DataSettings): 'line' | 'question' {
  return protocol === 'reference' ? 'line' : 'question';
}

/**
 * Everything that decides which tokens come out: rows × tokenizer × template, whose words are those
 * of a version. Null: a file has no hash.
 */
function tokenKey(rows: RowStream, settings: DataSettings, model: BayesianModel): object | null {
  const { family, classCount, labelNames, files } = rows;
  if (files.some(({ sha256 }) => sha256 === null)) return null;
  const { template, classes, labelTokens, addSpace, eos, truncation, maxSeqLen } = settings;
  return {
    version: packageVersion(),
    files: files.map(({ sha256, rows: count }) => [sha256, count]),
    split: rows.split,
    rows: { family, classCount, labelNames, columns: settings.columns },
    template: { template, classes, labelTokens, addSpace, eos, truncation, maxSeqLen },
    model: model.resolved.sha256,
    noise: noiseKind(settings),
  };
}

function changed({ name, split }: RowStream): BpeftError {
  return new BpeftError(
    'BPEFT_DATASET',
    `${name} ${split}: its files have changed while they were read`,
    {
      hint: 'run again',
    },
  );
}

/** Warns of what tokenising `rows` prompts has noticed and cut. */
export function tellCuts(encoded: EncodedHead, rows: number, emit: Listener): void {
  for (const message of encoded.notices) emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  const { name, split, truncated, maxSeqLen } = encoded;
  if (truncated === 0) return;
  const message = `${name} ${split}: ${truncated} of ${rows} prompts were cut to ${maxSeqLen} tokens`;
  emit({ type: 'warning', code: 'BPEFT_PROMPTS_TRUNCATED', message });
}
