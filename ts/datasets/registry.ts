/** From a name, a folder or a file to a dataset's splits. */

import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { assetPath } from '../assets.ts';
import { BpeftError } from '../errors.ts';
import { unknownName } from '../nearest.ts';
import { FILE_KINDS, type FileFormat } from './files/file-formats.ts';
import { ownData } from './files/own-data.ts';
import {
  type ByteSource,
  openFile,
  readSplit,
  type SplitFile,
  type Survey,
  splitItems,
  surveySplit,
} from './files/read-split.ts';
import { checkedLabelNames } from './rows/classification.ts';
import { datasetError } from './rows/dataset-error.ts';
import type { Dataset, RowStream, SplitHead, TaskFamily, TaskKind } from './rows/item.ts';
import { ARC } from './tasks/arc.ts';
import { BOOLQ } from './tasks/boolq.ts';
import { COPA } from './tasks/copa.ts';
import type { DatasetEntry, SourceFiles } from './tasks/entry.ts';
import { EXAM_TOPICS } from './tasks/exam-topics.ts';
import { GLUE, REGRESSIONS } from './tasks/glue.ts';
import { MMLU } from './tasks/mmlu.ts';
import { OPENBOOKQA } from './tasks/openbookqa.ts';
import { taskOf } from './tasks/tasks.ts';
import { WINOGRANDE } from './tasks/winogrande.ts';

const ENTRIES: readonly DatasetEntry[] = [
  ...ARC,
  ...OPENBOOKQA,
  ...WINOGRANDE,
  ...BOOLQ,
  ...MMLU,
  ...EXAM_TOPICS,
  ...GLUE,
  ...COPA,
];

export interface ResolveOptions {
  /** Folder that holds the named datasets. */
  readonly dataDir?: string | null | undefined;
  /** What one's own rows are; by default told by the fields of the first row. */
  readonly task?: TaskKind | null | undefined;
  /** Class names of a classification dataset, in class order; by default those of the training split, sorted. */
  readonly labels?: readonly string[] | null | undefined;
}

export interface DatasetSource {
  readonly name: string;
  readonly family: TaskFamily;
  readonly kind: TaskKind;
  /** Null for one's own data. */
  readonly entry: DatasetEntry | null;
  /** Splits whose files exist. */
  readonly splits: readonly string[];
  readonly trainSplit: string;
  readonly defaultSplit: string;
  /**
   * The rows of a split (null: the default one), all in memory; with a limit its first ones, and nothing
   * beyond them is read.
   *
   * @throws {BpeftError} `BPEFT_DATASET` for an unknown split (naming those that exist) or a malformed row.
   */
  load(split: string | null, options?: LoadOptions): Promise<Dataset>;
  /** The same, checked as a whole now, and read again whenever its rows are needed. */
  stream(split: string | null, options?: LoadOptions): Promise<RowStream>;
}

export interface LoadOptions {
  readonly limit?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export function listDatasets(): readonly DatasetEntry[] {
  return ENTRIES;
}

/**
 * The dataset that a name or a path stands for; what exists, or begins with `.` or `/`, is a path.
 *
 * @throws {BpeftError} `BPEFT_DATASET` for an unknown name (with the nearest one) or missing files.
 */
export async function resolveDataset(
  nameOrPath: string,
  options: ResolveOptions = {},
): Promise<DatasetSource> {
  if (/^[./]/.test(nameOrPath) || existsSync(nameOrPath)) {
    return source(await ownData(nameOrPath, options.task ?? null), options);
  }
  const entry = ENTRIES.find(({ name }) => name === nameOrPath);
  if (entry !== undefined) return source(namedFiles(entry, folderOf(entry, options)), options);
  const regression = REGRESSIONS[nameOrPath];
  if (regression !== undefined) throw datasetError(nameOrPath, regression);
  const { message, hint } = unknownName(
    'dataset',
    nameOrPath,
    ENTRIES.map(({ name }) => name),
  );
  throw new BpeftError('BPEFT_DATASET', message, {
    hint: `${hint}; or give the path of a folder, or of a ${FILE_KINDS} file`,
  });
}

export interface StreamOptions {
  /** For error messages: the file, or `<stdin>`. */
  readonly name: string;
  readonly stream: AsyncIterable<Uint8Array>;
  readonly format: FileFormat;
  readonly family: TaskFamily;
  readonly labels?: readonly string[] | null | undefined;
  /** Whether what the rows hold as their answer is left unread. */
  readonly isPredicted?: boolean;
}

/** The rows of a stream, for prediction. */
export async function datasetFromStream(options: StreamOptions): Promise<Dataset> {
  const { name, stream, format, family } = options;
  const bytes: ByteSource = { file: name, name: basename(name), format, bytes: stream };
  const { labels: labelNames = null, isPredicted } = options;
  const { items, ...survey } = await readSplit([bytes], taskOf(family), { labelNames, isPredicted });
  return { ...head({ name, split: 'input', family }, survey), items };
}

function source(files: SourceFiles, options: ResolveOptions): DatasetSource {
  const { name, family, entry, splits, trainSplit, defaultSplit } = files;
  const task = taskOf(family);
  let labelNames = options.labels ?? null;
  if (labelNames !== null && family === 'classification') checkedLabelNames(labelNames, '--labels');
  return {
    name,
    family,
    kind: task.kind,
    entry,
    splits: [...splits.keys()],
    trainSplit,
    defaultSplit,
    load: async (split, options = {}) => {
      const wanted = await open(split, options);
      const { items, ...survey } = await readSplit(wanted.sources(), task, { labelNames, ...options });
      return { ...wanted.head(survey), items };
    },
    stream: async (split, options = {}) => {
      const wanted = await open(split, options);
      const survey = await surveySplit(wanted.sources(), task, { labelNames, ...options });
      const { rows, bytes, widest } = survey;
      const again = { ...options, labelNames: survey.labelNames };
      const items = () => splitItems(wanted.sources(), task, again);
      return { ...wanted.head(survey), rows, bytes, widest, items };
    },
  };

  /** What is known of a split before its rows are read; the class names are those of training. */
  async function open(split: string | null, { limit }: LoadOptions) {
    const wanted = split ?? defaultSplit;
    const paths = splitFiles(files, wanted);
    const isPart = wanted !== trainSplit || limit !== undefined;
    if (family === 'classification' && isPart) labelNames ??= await trainLabelNames(files);
    return {
      sources: () => paths.map(openFile),
      head: (survey: Survey): SplitHead => {
        labelNames ??= survey.labelNames;
        return head({ name, split: wanted, family }, survey);
      },
    };
  }
}

async function trainLabelNames(files: SourceFiles): Promise<readonly string[] | null> {
  const train = files.splits.get(files.trainSplit);
  if (train === undefined) {
    throw datasetError(files.name, `has no split ${files.trainSplit} to take the class names from`, {
      hint: 'name the classes in order: --labels NAME,NAME,…',
    });
  }
  const survey = await surveySplit(train.map(openFile), taskOf(files.family), { labelNames: null });
  return survey.labelNames;
}

function head(
  names: Pick<Dataset, 'name' | 'split' | 'family'>,
  { labelNames, notices, files, widest }: Survey,
): SplitHead {
  const classCount = taskOf(names.family).classCount ?? widest.choices.length;
  return { ...names, classCount, labelNames, notices, files };
}

function folderOf(entry: DatasetEntry, { dataDir }: ResolveOptions): string | null {
  return entry.isEmbedded === true ? assetPath('') : (dataDir ?? null);
}

function namedFiles(entry: DatasetEntry, dataDir: string | null): SourceFiles {
  if (dataDir === null) {
    throw datasetError(entry.name, 'needs the folder that holds the datasets', {
      hint: `pass --data-dir DIR with DIR/${firstFile(entry)}; bpeft datasets show ${entry.name} lists all files`,
    });
  }
  const splits = new Map<string, readonly SplitFile[]>();
  for (const [split, names] of Object.entries(entry.splits)) {
    const files = names.map((name) => ({ path: join(dataDir, name), name, format: 'jsonl' as const }));
    if (files.every(({ path }) => existsSync(path))) splits.set(split, files);
  }
  if (splits.size === 0) {
    throw datasetError(entry.name, `no split found below ${dataDir}: ${firstFile(entry)} does not exist`, {
      hint: 'check --data-dir',
    });
  }
  const { name, family, trainSplit, defaultSplit } = entry;
  return { name, family, entry, splits, trainSplit, defaultSplit };
}

function firstFile(entry: DatasetEntry): string {
  return entry.splits[entry.defaultSplit]?.[0] ?? '';
}

function splitFiles({ name, entry, splits }: SourceFiles, split: string): readonly SplitFile[] {
  const files = splits.get(split);
  if (files !== undefined) return files;
  const missing = entry?.splits[split];
  if (missing !== undefined) {
    throw datasetError(
      name,
      `split ${JSON.stringify(split)} is not there: ${missing.join(' or ')} does not exist`,
      {
        hint: `splits that exist: ${[...splits.keys()].join(', ')}`,
      },
    );
  }
  const { message, hint } = unknownName('split', split, splits.keys());
  throw datasetError(name, message, { hint: hint.replace('known:', 'splits that exist:') });
}
