/**
 * The named datasets' rows in the columns that the Hub has, made of those in the folder of
 * fixtures.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { classes, parquet } from './parquet.ts';

type Row = Readonly<Record<string, unknown>>;

export const dataDir = join(import.meta.dirname, '../fixtures/data');

export function localRows(path: string, folder = dataDir): Row[] {
  const lines = readFileSync(join(folder, path), 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Row);
}

/** `choices: {text, label}` and `answerKey`, in place of `choices`, `labels` and an index. */
export function arcRow({ id, question, choices, labels, answer }: Row): Row {
  const label = labels as readonly string[];
  return { id, question, choices: { text: choices, label }, answerKey: label[answer as number] };
}

export function openbookqaRow(row: Row): Row {
  const { question, ...rest } = arcRow(row);
  return { ...rest, question_stem: question };
}

export function winograndeRow({ sentence, option1, option2, answer }: Row): Row {
  return { sentence, option1, option2, answer: String(answer) };
}

function mmluRow({ question, choices, answer }: Row): Row {
  return { question, subject: 'a subject', choices, answer };
}

type Files = Record<string, Buffer | string>;

const card = (license: string, ...configurations: readonly string[]) =>
  `---\nlicense: ${license}\nconfigs:\n${configurations
    .map(
      (name) =>
        `- config_name: ${name}\n  data_files:\n${['train', 'validation']
          .map((split) => `  - split: ${split}\n    path: ${name}/${split}-*\n`)
          .join('')}`,
    )
    .join('')}---\n# A dataset\n`;

const shard = (configuration: string, split: string) =>
  `${configuration}/${split}-00000-of-00001.parquet`;

/** `allenai/ai2_arc`, with rows of the folder. */
export function arcRepository(folder = dataDir, limit = Number.POSITIVE_INFINITY): Files {
  const files: Files = { 'README.md': card('cc-by-sa-4.0', 'ARC-Challenge', 'ARC-Easy') };
  for (const [name, own] of [
    ['ARC-Challenge', 'arc_challenge'],
    ['ARC-Easy', 'arc_easy'],
  ] as const) {
    for (const split of ['train', 'validation']) {
      const rows = localRows(`${own}/${split}.jsonl`, folder).slice(0, limit);
      files[shard(name, split)] = parquet(rows.map(arcRow), { rowGroupSize: 50 });
    }
  }
  return files;
}

/** Of each repository of the reference its files. */
export function referenceRepositories(): Record<string, Files> {
  const table = (path: string, row: (row: Row) => Row) => parquet(localRows(path).map(row));
  const same = (row: Row) => row;
  const winogrande: Files = { 'README.md': card('cc-by-4.0', 'winogrande_s', 'winogrande_m') };
  for (const size of ['s', 'm']) {
    winogrande[shard(`winogrande_${size}`, 'train')] = table(
      `winogrande/train_${size}.jsonl`,
      winograndeRow,
    );
    winogrande[shard(`winogrande_${size}`, 'validation')] = table(
      'winogrande/validation.jsonl',
      winograndeRow,
    );
  }
  const subjects = [
    'college_chemistry',
    'college_computer_science',
    'college_physics',
    'computer_security',
  ];
  const mmlu: Files = {};
  for (const subject of [...subjects, 'high_school_computer_science', 'machine_learning']) {
    mmlu[shard(subject, 'test')] = parquet(
      localRows(`mmlu/${subject}/test.jsonl`).map(mmluRow),
      classes({ answer: ['A', 'B', 'C', 'D'] }),
    );
  }
  return {
    'allenai/ai2_arc': arcRepository(),
    'allenai/winogrande': winogrande,
    'allenai/openbookqa': {
      [shard('main', 'train')]: table('openbookqa/train.jsonl', openbookqaRow),
      [shard('main', 'validation')]: table('openbookqa/validation.jsonl', openbookqaRow),
      [shard('additional', 'train')]: table('openbookqa/train.jsonl', openbookqaRow),
    },
    'google/boolq': {
      [shard('data', 'train')]: table('boolq/train.jsonl', same),
      [shard('data', 'validation')]: table('boolq/validation.jsonl', same),
    },
    'cais/mmlu': mmlu,
  };
}
