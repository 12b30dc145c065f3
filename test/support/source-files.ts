/** The files that rules of form hold for: those that somebody writes. */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { documents, root } from './snippets.ts';

/** Pages that a command writes from what programs say. */
const WRITTEN = /^docs\/(api\/|cli\.md|gpu-cost-model\.md)/;

/** Files of a folder and of those in it. */
function filesOf(folder: string, kind: RegExp): string[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return names.filter((name) => kind.test(name)).map((name) => join(folder, name));
}

/** Those found, unless so few are that a folder must have been missed. */
function atLeast(least: number, found: readonly string[]): readonly string[] {
  if (found.length < least) throw new Error(`expected ${least} files or more, got ${found.length}`);
  return found;
}

/** Rust and CUDA. */
export function engineSources(): readonly string[] {
  return atLeast(300, filesOf('crates', /\.(rs|cuh?)$/));
}

/** TypeScript, and the scripts and programs around it. */
export function scriptSources(): readonly string[] {
  const folders = ['ts', 'test', 'tools', 'bench', 'cmd', 'examples'];
  const kinds = /\.(ts|mjs|py|sh|cpp|h)$/;
  return atLeast(
    500,
    folders.flatMap((folder) => filesOf(folder, kinds)),
  );
}

/** Documents that no command writes. */
export function pages(): readonly string[] {
  const all = [...documents(), ...filesOf('docs/adr', /\.md$/)];
  const others = ['ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md'];
  return atLeast(
    30,
    [...all, ...others].filter((page) => !WRITTEN.test(page)),
  );
}
