/** The fenced blocks of the documents, with the marker that stands before a block. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '../..');

export interface Snippet {
  /** `README.md:24` */
  readonly place: string;
  readonly language: string;
  readonly text: string;
  /** Of `<!-- not run: reason -->`. */
  readonly notRun: string | null;
}

/** README.md and the guides; decisions and generated pages hold nothing to run. */
export function documents(): readonly string[] {
  return ['README.md', ...['docs', 'docs/methods'].flatMap(pagesIn)];
}

function pagesIn(folder: string): readonly string[] {
  const names = readdirSync(join(root, folder)).filter((name) => name.endsWith('.md'));
  return names.sort().map((name) => `${folder}/${name}`);
}

export function snippets(document: string): readonly Snippet[] {
  const lines = readFileSync(join(root, document), 'utf8').split('\n');
  const found: Snippet[] = [];
  for (let start = 0; start < lines.length; start += 1) {
    const language = /^```(.*)$/.exec(lines[start] ?? '')?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf('```', start + 1);
    if (end < 0) throw new Error(`${document}:${start + 1}: the block does not end`);
    const before = lines.slice(0, start).findLast((line) => line.trim() !== '') ?? '';
    found.push({
      place: `${document}:${start + 1}`,
      language,
      text: lines.slice(start + 1, end).join('\n'),
      notRun: /^<!-- not run: (.+) -->$/.exec(before)?.[1] ?? null,
    });
    start = end;
  }
  return found;
}

/** The commands of a `sh` block; lines that end in a backslash go on. */
export function shellLines(text: string): readonly string[] {
  return text
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '');
}

/** Commands and expected output of a `console` block: `$ ` begins a command. */
export function transcript(text: string): readonly { command: string; output: string }[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [command = '', ...output] = part.replace(/\\\n/g, ' ').split('\n');
      return { command, output: output.join('\n').trim() };
    });
}

/** Whether the output is the expected one, in which `…` stands for anything. */
export function matches(output: string, expected: string): boolean {
  const parts = expected.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^]*')}$`).test(output.trim());
}
