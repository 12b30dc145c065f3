/** "Did you mean …?": the known name closest to a misspelt one. */

/**
 * The known name with the smallest edit distance to `name` (letter case ignored), or null when none
 * is within a third of the name's length (at least 2 edits). Ties go to the first.
 */
export function nearestName(name: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(name.length / 3));
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (best === null ? distance <= bestDistance : distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Message and hint of an error about a name that is not known. */
export function unknownName(
  what: string,
  name: string,
  known: Iterable<string>,
): { message: string; hint: string } {
  const names = [...known];
  const nearest = nearestName(name, names);
  const list = names.length === 0 ? 'none is known' : `known: ${names.join(', ')}`;
  return {
    message: `unknown ${what} ${JSON.stringify(name)}`,
    hint: nearest === null ? list : `did you mean ${JSON.stringify(nearest)}? ${list}`,
  };
}

/**
 * Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours
 * cost 1.
 */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = at(last, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(at(last, j) + 1, at(row, j - 1) + 1, substitution);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, at(beforeLast, j - 2) + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
