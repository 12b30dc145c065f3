/** The tables of a comparison: `table.md`, `table.csv`, `table.json` beside its runs. */

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BpeftError } from '../errors.ts';
import type { ComparedCell } from '../report/compared-cells.ts';
import { comparisonCsv, comparisonMarkdown } from '../report/comparison-table.ts';
import { replaceFile, replaceJson } from '../run/records/atomic.ts';
import { OUT } from '../run/records/writable.ts';

const JSON_TABLE = 'table.json';
const TABLES = ['table.md', 'table.csv', JSON_TABLE];

/** @throws {BpeftError} `BPEFT_RUN_EXISTS`: no comparison has written what has a table's name. */
export async function requireOwnTables(out: string): Promise<void> {
  const found = TABLES.map((name) => join(out, name)).find((path) => existsSync(path));
  if (found === undefined || (await isTable(join(out, JSON_TABLE)))) return;
  throw new BpeftError('BPEFT_RUN_EXISTS', `${found} is no table of bpeft's, and is not replaced`, {
    hint: `${OUT.remedy}, or move that away`,
  });
}

async function isTable(path: string): Promise<boolean> {
  try {
    const content = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown> | null;
    return content?.format === 1 && Array.isArray(content.cells);
  } catch {
    return false;
  }
}

interface Tables {
  readonly cells: readonly ComparedCell[];
  readonly out: string;
}

/** That of JSON, with all of `comparison`, first: by it a later comparison knows the others. */
export async function writeTables(comparison: Tables): Promise<void> {
  const { cells, out } = comparison;
  await replaceJson(join(out, JSON_TABLE), comparison);
  await replaceFile(join(out, 'table.md'), comparisonMarkdown(cells));
  await replaceFile(join(out, 'table.csv'), comparisonCsv(cells));
}
