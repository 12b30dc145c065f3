/** One's own data: a folder of `<split>.jsonl`, `<split>.csv`, … files, or one such file. */

import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { BpeftError } from '../../errors.ts';
import type { Columns } from '../rows/columns.ts';
import { datasetError } from '../rows/dataset-error.ts';
import type { TaskKind } from '../rows/item.ts';
import type { SourceFiles } from '../tasks/entry.ts';
import { FILE_KINDS, formatOf, isSplitFile, remedyFor, splitName } from './file-formats.ts';
import { firstRecord, openFile, type SplitFile } from './read-split.ts';

/**
 * The splits at `path`. Trained on is `train`, evaluated by default `validation`; a sole file
 * serves as both.
 *
 * @throws {BpeftError} `BPEFT_DATASET` when there is nothing to read, or two files for one split.
 */
export async function ownData(
  path: string,
  task: TaskKind | null,
  columns: Columns | null,
): Promise<SourceFiles> {
  const splits = (await isFolder(path)) ? await folderSplits(path) : fileSplit(path);
  const [first] = splits;
  if (first === undefined) {
    throw datasetError(path, `holds no ${FILE_KINDS} file`, {
      hint: (await otherRemedy(path)) ?? 'a dataset folder holds train.jsonl, validation.jsonl, …',
    });
  }
  const sole = splits.size === 1 ? first[0] : null;
  const sample = splits.get('train') ?? first[1];
  return {
    name: splitName(resolve(path)),
    family: task ?? (await taskByFields(sample, columns)),
    entry: null,
    splits,
    trainSplit: sole ?? 'train',
    defaultSplit: sole ?? 'validation',
    ...{ licence: null, columns, hub: null },
    bring: async () => {},
  };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw new BpeftError('BPEFT_DATASET', `no dataset at ${path}`, {
      hint: 'a path names a folder with train.jsonl, validation.jsonl, …, or a file of rows',
      cause,
    });
  }
}

async function folderSplits(folder: string): Promise<Map<string, readonly SplitFile[]>> {
  const splits = new Map<string, readonly SplitFile[]>();
  for (const name of (await readdir(folder)).sort()) {
    const format = formatOf(name);
    if (format === null || !isSplitFile(name)) continue;
    const split = splitName(name);
    const other = splits.get(split)?.[0];
    if (other !== undefined) {
      throw datasetError(
        folder,
        `holds two files for the split ${split}: ${other.name} and ${name}`,
        {
          hint: 'keep one of them',
        },
      );
    }
    splits.set(split, [{ path: join(folder, name), name, format }]);
  }
  return splits;
}

async function otherRemedy(folder: string): Promise<string | undefined> {
  return (await readdir(folder)).map(remedyFor).find((remedy) => remedy !== undefined);
}

function fileSplit(path: string): Map<string, readonly SplitFile[]> {
  const format = formatOf(path);
  if (format === null) {
    throw datasetError(
      path,
      `must be a ${FILE_KINDS} file, got ${extname(path) || 'no extension'}`,
      {
        hint: remedyFor(path),
      },
    );
  }
  const name = basename(path);
  return new Map([[splitName(path), [{ path, name, format }]]]);
}

/** `choices` makes a row multiple choice. */
export async function taskByFields(
  files: readonly SplitFile[],
  columns: Columns | null,
): Promise<TaskKind> {
  const [file] = files;
  if (file === undefined) return 'multiple-choice';
  const record = await firstRecord(openFile(file), columns);
  if (typeof record !== 'object' || record === null) return 'multiple-choice';
  if ('choices' in record) return 'multiple-choice';
  return ['label', 'text', 'text1', 'sentence', 'sentence1', 'premise'].some(
    (field) => field in record,
  )
    ? 'classification'
    : 'multiple-choice';
}
