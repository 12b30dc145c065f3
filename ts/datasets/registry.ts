/**
 * From a name, a folder or a file to a dataset's splits; what the Hub has is downloaded when it is
 * read.
 */

import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { assetPath } from '../assets.ts';
import type { CallOptions } from '../engine/call.ts';
import { BpeftError } from '../errors.ts';
import { parseDatasetId } from '../hub/dataset-id.ts';
import { unknownName } from '../nearest.ts';
import { FILE_KINDS, type FileFormat, formatOf, remedyFor } from './files/file-formats.ts';
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
import { namedHubData, otherHubData } from './hub-data.ts';
import { checkedLabelNames } from './rows/classification.ts';
import { columnsFrom } from './rows/columns.ts';
import { datasetError } from './rows/dataset-error.ts';
import type {
  Dataset,
  HubOrigin,
  RowStream,
  SplitHead,
  TaskFamily,
  TaskKind,
} from './rows/item.ts';
import { partOfItems, partOfRows, splitPart } from './split-part.ts';
import { ARC } from './tasks/arc.ts';
import { BOOLQ } from './tasks/boolq.ts';
import { COMMONSENSE_QA } from './tasks/commonsense-qa.ts';
import { COPA } from './tasks/copa.ts';
import type { DatasetEntry, SourceFiles } from './tasks/entry.ts';
import { EXAM_TOPICS } from './tasks/exam-topics.ts';
import { GLUE, REGRESSIONS } from './tasks/glue.ts';
import { datasetAt, hubPlaceOf } from './tasks/hub-places.ts';
import { MMLU } from './tasks/mmlu.ts';
import { OPENBOOKQA } from './tasks/openbookqa.ts';
import { taskOf } from './tasks/tasks.ts';
import { WINOGRANDE } from './tasks/winogrande.ts';

const ENTRIES: readonly DatasetEntry[] = [
  ...ARC,
  ...OPENBOOKQA,
  ...COMMONSENSE_QA,
  ...WINOGRANDE,
  ...BOOLQ,
  ...MMLU,
  ...EXAM_TOPICS,
  ...GLUE,
  ...COPA,
];

export interface ResolveOptions extends CallOptions {
  /** Folder that holds the named datasets; without it they come from the Hub. */
  readonly dataDir?: string | null | undefined;
  /** What one's own rows are; by default told by the fields of the first row. */
  readonly task?: TaskKind | null | undefined;
  /**
   * Class names of a classification dataset, in class order; by default those of the training
   * split, sorted.
   */
  readonly labels?: readonly string[] | null | undefined;
  /** Which columns of one's own rows hold the fields, as `question=prompt`. */
  readonly columns?: readonly string[] | null | undefined;
}

export interface DatasetSource {
  readonly name: string;
  readonly family: TaskFamily;
  readonly kind: TaskKind;
  /** Null for one's own data. */
  readonly entry: DatasetEntry | null;
  /** Null: files of this machine. */
  readonly hub: HubOrigin | null;
  /** Splits whose files exist. */
  readonly splits: readonly string[];
  readonly trainSplit: string;
  readonly defaultSplit: string;
  /**
   * The rows of a split (null: the default one), all in memory; with a limit its first ones, and
   * nothing beyond them is read.
   *
   * @throws {BpeftError} `BPEFT_DATASET` for an unknown split (naming those that exist) or a
   * malformed row.
   */
  load(split: string | null, options?: LoadOptions): Promise<Dataset>;
  /** The same, checked as a whole now, and read again whenever its rows are needed. */
  stream(split: string | null, options?: LoadOptions): Promise<RowStream>;
}

export interface LoadOptions extends CallOptions {
  readonly limit?: number | undefined;
}

export function listDatasets(): readonly DatasetEntry[] {
  return ENTRIES;
}

/**
 * The dataset that a name or a path stands for; what exists, or begins with `.` or `/`, is a path.
 *
 * @throws {BpeftError} `BPEFT_DATASET` for an unknown name (with the nearest one) or missing files;
 *   `BPEFT_IO`, `BPEFT_ABORTED`: of the Hub.
 */
export async function resolveDataset(
  nameOrPath: string,
  options: ResolveOptions = {},
): Promise<DatasetSource> {
  return source(await sourceFiles(nameOrPath, options), options);
}

async function sourceFiles(nameOrPath: string, options: ResolveOptions): Promise<SourceFiles> {
  const { signal, onProgress, dataDir } = options;
  const columns = options.columns == null ? null : columnsFrom(options.columns);
  const task = options.task ?? null;
  if (isOwnPath(nameOrPath)) return ownData(nameOrPath, task, columns);
  const entry = ENTRIES.find(({ name }) => name === nameOrPath);
  if (entry !== undefined) {
    const place = hubPlaceOf(entry.name);
    const isLocal = entry.isEmbedded === true || dataDir != null || place === null;
    if (isLocal) return namedFiles(entry, folderOf(entry, options));
    return namedHubData(entry, place, null, { signal, onProgress }).catch((error: unknown) => {
      throw withRemedy(error, `or pass --data-dir DIR with DIR/${firstFile(entry)}`);
    });
  }
  const id = parseDatasetId(nameOrPath);
  const regression = REGRESSIONS[id?.configuration ?? nameOrPath];
  if (regression !== undefined) throw datasetError(nameOrPath, regression);
  if (id === null) throw unknown(nameOrPath);
  const named = ENTRIES.find(({ name }) => name === datasetAt(id));
  const place = named === undefined ? null : hubPlaceOf(named.name);
  const call = { signal, onProgress };
  const found =
    named === undefined || place === null
      ? otherHubData(id, { task, columns, ...call })
      : namedHubData(named, place, id.revision, call);
  return found.catch((error: unknown) => {
    throw withRemedy(error, `nor is there a file or folder ${nameOrPath} here`);
  });
}

/** What exists, begins as a path, or ends as a file of rows does. */
function isOwnPath(nameOrPath: string): boolean {
  const isFile = formatOf(nameOrPath) !== null || remedyFor(nameOrPath) !== undefined;
  return /^[./]/.test(nameOrPath) || isFile || existsSync(nameOrPath);
}

function unknown(nameOrPath: string): BpeftError {
  const names = ENTRIES.map(({ name }) => name);
  const { message, hint } = unknownName('dataset', nameOrPath, names);
  return new BpeftError('BPEFT_DATASET', message, {
    hint: `${hint}; or give org/name[:configuration] of the Hub, or the path of a folder or of a ${FILE_KINDS} file`,
  });
}

function withRemedy(error: unknown, remedy: string): unknown {
  if (!(error instanceof BpeftError) || !['BPEFT_DATASET', 'BPEFT_IO'].includes(error.code))
    return error;
  const { code, message, hint } = error;
  return new BpeftError(code, message, {
    hint: hint === undefined ? remedy : `${hint}; ${remedy}`,
    cause: error,
  });
}

export interface StreamOptions {
  /** For error messages: the file, or `<stdin>`. */
  readonly name: string;
  readonly stream: AsyncIterable<Uint8Array>;
  readonly format: Exclude<FileFormat, 'parquet'>;
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
  const { items, ...survey } = await readSplit([bytes], taskOf(family), {
    labelNames,
    isPredicted,
  });
  return { ...head({ name, split: 'input', family, licence: null, hub: null }, survey), items };
}

function source(files: SourceFiles, options: ResolveOptions): DatasetSource {
  const { name, family, entry, splits, trainSplit, defaultSplit, licence, hub, columns } = files;
  const task = taskOf(family);
  let labelNames = options.labels ?? null;
  if (labelNames !== null && family === 'classification') checkedLabelNames(labelNames, '--labels');
  const whole: DatasetSource = {
    name,
    family,
    kind: task.kind,
    entry,
    hub,
    splits: [...splits.keys()],
    trainSplit,
    defaultSplit,
    load: async (split, options = {}) => {
      const wanted = await open(split, options);
      const { items, ...survey } = await readSplit(wanted.sources(), task, {
        labelNames,
        columns,
        ...options,
      });
      return { ...wanted.head(survey), items };
    },
    stream: async (split, options = {}) => {
      const wanted = await open(split, options);
      const survey = await surveySplit(wanted.sources(), task, { labelNames, columns, ...options });
      const { rows, bytes, widest } = survey;
      const again = { ...options, columns, labelNames: survey.labelNames };
      const items = () => splitItems(wanted.sources(), task, again);
      return { ...wanted.head(survey), rows, bytes, widest, items };
    },
  };
  return {
    ...whole,
    load: async (split, options = {}) => {
      const part = splitPart(split ?? '');
      if (part === null) return whole.load(split, options);
      const { limit, ...call } = options;
      return partOfItems(await whole.load(part.split, call), split ?? '', part, limit);
    },
    stream: async (split, options = {}) => {
      const part = splitPart(split ?? '');
      if (part === null) return whole.stream(split, options);
      const { limit, ...call } = options;
      return partOfRows(await whole.stream(part.split, call), split ?? '', part, limit);
    },
  };

  /** What is known of a split before its rows are read; the class names are those of training. */
  async function open(split: string | null, { limit, ...call }: LoadOptions) {
    const wanted = split ?? defaultSplit;
    const paths = splitFiles(files, wanted);
    await files.bring(paths, call);
    const isPart = wanted !== trainSplit || limit !== undefined;
    if (family === 'classification' && isPart) labelNames ??= await trainLabelNames(files, call);
    return {
      sources: () => paths.map(openFile),
      head: (survey: Survey): SplitHead => {
        labelNames ??= survey.labelNames;
        return head({ name, split: wanted, family, licence, hub }, survey);
      },
    };
  }
}

async function trainLabelNames(
  files: SourceFiles,
  call: CallOptions,
): Promise<readonly string[] | null> {
  const train = files.splits.get(files.trainSplit);
  if (train === undefined) {
    throw datasetError(
      files.name,
      `has no split ${files.trainSplit} to take the class names from`,
      {
        hint: 'name the classes in order: --labels NAME,NAME,…',
      },
    );
  }
  await files.bring(train, call);
  const { columns } = files;
  const options = { labelNames: null, columns, signal: call.signal };
  const survey = await surveySplit(train.map(openFile), taskOf(files.family), options);
  return survey.labelNames;
}

function head(
  names: Pick<Dataset, 'name' | 'split' | 'family' | 'licence' | 'hub'>,
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
    const files = names.map((name) => ({
      path: join(dataDir, name),
      name,
      format: 'jsonl' as const,
    }));
    if (files.every(({ path }) => existsSync(path))) splits.set(split, files);
  }
  if (splits.size === 0) {
    throw datasetError(
      entry.name,
      `no split found below ${dataDir}: ${firstFile(entry)} does not exist`,
      {
        hint: 'check --data-dir',
      },
    );
  }
  const { name, family, trainSplit, defaultSplit, licence } = entry;
  return {
    ...{ name, family, entry, splits, trainSplit, defaultSplit, licence },
    ...{ columns: null, hub: null },
    bring: async () => {},
  };
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
