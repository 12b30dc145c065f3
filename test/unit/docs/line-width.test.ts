import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../../support/snippets.ts';
import { engineSources, pages, scriptSources } from '../../support/source-files.ts';

const MOST = 100;

function isLong(line: string): boolean {
  return [...line].length > MOST;
}

const COMMENT = /^\s*(\/\/|\/?\*|#)/;

/** Lines that are as long as what they hold. */
function cannotBreak(file: string, line: string, isFenced: boolean): boolean {
  if (file.endsWith('.md')) return isFenced || /^\s*\|/.test(line);
  if (/\.(rs|cuh?)$/.test(file)) return /= r#*"/.test(line);
  if (file.endsWith('.sh')) return false;
  // Biome breaks code; in comments, equations and tables stay as they are.
  return !COMMENT.test(line) || isFenced || /\S {2,}\S/.test(line);
}

/** Long lines that could be broken: not those of tables, fenced blocks, patterns and texts. */
function tooLong(file: string): string[] {
  let isFenced = false;
  const lines = readFileSync(join(root, file), 'utf8').split('\n');
  return lines.flatMap((line, index) => {
    if (/^[\s*]*```/.test(line)) isFenced = !isFenced;
    return isLong(line) && !cannotBreak(file, line, isFenced) ? [`${file}:${index + 1}`] : [];
  });
}

it('has no line above 100 columns in the engine', () => {
  expect(engineSources().flatMap(tooLong)).toEqual([]);
});

it('has none in scripts of the shell, and in comments of others and of the TypeScript half', () => {
  expect(scriptSources().flatMap(tooLong)).toEqual([]);
});

it('has none in documents', () => {
  expect(pages().flatMap(tooLong)).toEqual([]);
});
