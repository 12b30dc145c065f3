import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { documents, root } from '../../support/snippets.ts';

const MOST = 100;

/** Pages that a command writes from what programs say. */
const WRITTEN = /^docs\/(api\/|cli\.md|gpu-cost-model\.md)/;

/** Files of a folder and of those in it. */
function filesOf(folder: string, kind: RegExp): string[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return names.filter((name) => kind.test(name)).map((name) => join(folder, name));
}

function isLong(line: string): boolean {
  return [...line].length > MOST;
}

const COMMENT = /^\s*(\/\/|\/?\*|#)/;

/** Lines that are as long as what they hold. */
function cannotBreak(file: string, line: string, isFenced: boolean): boolean {
  if (file.endsWith('.md')) return isFenced || /^\s*\|/.test(line);
  if (/\.(rs|cuh?)$/.test(file)) return /= r#*"/.test(line);
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
  const sources = filesOf('crates', /\.(rs|cuh?)$/);
  expect(sources.length).toBeGreaterThan(300);
  expect(sources.flatMap(tooLong)).toEqual([]);
});

it('has none in comments of scripts and of the TypeScript half', () => {
  const folders = ['ts', 'test', 'tools', 'bench', 'cmd', 'examples'];
  const kinds = /\.(ts|mjs|py|sh|cpp|h)$/;
  const sources = folders.flatMap((folder) => filesOf(folder, kinds));
  expect(sources.length).toBeGreaterThan(500);
  expect(sources.flatMap(tooLong)).toEqual([]);
});

it('has none in documents', () => {
  const pages = [...documents(), ...filesOf('docs/adr', /\.md$/)];
  const others = ['ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md'];
  const written = (page: string) => !WRITTEN.test(page);
  expect(pages.length).toBeGreaterThan(30);
  expect([...pages, ...others].filter(written).flatMap(tooLong)).toEqual([]);
});
