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

/** Long lines that could be broken: not those of tables, fenced blocks and patterns. */
function tooLong(file: string): string[] {
  let isFenced = false;
  const lines = readFileSync(join(root, file), 'utf8').split('\n');
  return lines.flatMap((line, index) => {
    const isPage = file.endsWith('.md');
    if (isPage && /^\s*```/.test(line)) isFenced = !isFenced;
    const cannotBreak = isPage ? isFenced || /^\s*\|/.test(line) : /= r#*"/.test(line);
    return isLong(line) && !cannotBreak ? [`${file}:${index + 1}`] : [];
  });
}

it('has no line above 100 columns in the engine', () => {
  const sources = filesOf('crates', /\.(rs|cuh?)$/);
  expect(sources.length).toBeGreaterThan(300);
  expect(sources.flatMap(tooLong)).toEqual([]);
});

it('has none in documents', () => {
  const pages = [...documents(), ...filesOf('docs/adr', /\.md$/)];
  const others = ['ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md'];
  const written = (page: string) => !WRITTEN.test(page);
  expect(pages.length).toBeGreaterThan(30);
  expect([...pages, ...others].filter(written).flatMap(tooLong)).toEqual([]);
});
