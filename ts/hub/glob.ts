/**
 * Patterns of paths as cards write them: `*` and `?` within a name, `**` across folders, `{a,b}`.
 *
 * They come from a server: the time is at most the pattern's length times the path's, which a
 * regular expression does not promise.
 */

/** Of one pattern with braces. */
const MOST_ALTERNATIVES = 64;

export function matcher(pattern: string): (path: string) => boolean {
  const globs = alternatives(pattern.replace(/^\.\//, '')).map(
    (glob) => glob.replaceAll('**/', '**').match(/\*\*|[\s\S]/g) ?? [],
  );
  return (path) => globs.some((glob) => fits(glob, path));
}

function alternatives(pattern: string): readonly string[] {
  let all = [pattern];
  while (all.length <= MOST_ALTERNATIVES) {
    const open = all.some((one) => BRACES.test(one));
    if (!open) break;
    all = all.flatMap((one) => {
      const [whole, inner = ''] = BRACES.exec(one) ?? [];
      return whole === undefined
        ? [one]
        : inner.split(',').map((part) => one.replace(whole, () => part));
    });
  }
  return all.slice(0, MOST_ALTERNATIVES);
}

const BRACES = /\{([^{}]*)\}/;

/** `reached[j]`: the tokens so far can make the first j characters. */
function fits(glob: readonly string[], path: string): boolean {
  let reached = [true, ...Array.from(path, () => false)];
  for (const token of glob) {
    const isMany = token === '*' || token === '**';
    const next = [isMany && reached[0] === true];
    for (let j = 0; j < path.length; j += 1) {
      const isSlash = path[j] === '/';
      if (isMany) {
        const goesOn = next[j] === true && (token === '**' || !isSlash);
        next.push(reached[j + 1] === true || goesOn);
      } else {
        next.push(reached[j] === true && (token === '?' ? !isSlash : token === path[j]));
      }
    }
    reached = next;
  }
  return reached[path.length] === true;
}
