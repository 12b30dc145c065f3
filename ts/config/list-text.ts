/**
 * A list as one word of the command line: parts with commas between them, where a path may hold
 * commas too.
 */

import { existsSync } from 'node:fs';

/**
 * The parts, without the white space around them. Neighbours that only together name an existing
 * file or folder are one part, the longest first.
 */
export function listFromText(text: string): string[] {
  const pieces = text.split(',');
  const parts: string[] = [];
  for (let start = 0; start < pieces.length; ) {
    const end = endOfPath(pieces, start) ?? start + 1;
    parts.push(pieces.slice(start, end).join(',').trim());
    start = end;
  }
  return parts;
}

/** Null: no path of several pieces begins here. */
function endOfPath(pieces: readonly string[], start: number): number | null {
  for (let end = pieces.length; end > start + 1; end -= 1) {
    if (existsSync(pieces.slice(start, end).join(',').trim())) return end;
  }
  return null;
}
