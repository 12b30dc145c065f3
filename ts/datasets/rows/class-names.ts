/**
 * When two names of a class are one: names are compared as NFC (Unicode Standard Annex 15) and
 * without the white space around them, and that is how they are shown and recorded.
 */

export function className(value: string | number | boolean): string {
  return String(value).normalize('NFC').trim();
}

/**
 * Whether the name is a whole number, so that whole numbers are names in this set and never
 * indices.
 */
export function isWholeNumber(name: string): boolean {
  return /^-?\d+(\.0+)?$/.test(name);
}

/** Numbers by their size, texts by their code units. */
export function sortedNames(names: readonly string[]): string[] {
  return names.every(isWholeNumber)
    ? names.toSorted((a, b) => Number(a) - Number(b))
    : names.toSorted((a, b) => (a < b ? -1 : 1));
}

/** One notice for each group of names that differ, but hardly for a reader: `spam` and `Spam`. */
export function lookAlikes(names: readonly string[], source: string): string[] {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const group = groups.get(appearance(name));
    if (group === undefined) groups.set(appearance(name), [name]);
    else group.push(name);
  }
  return [...groups.values()]
    .filter((group) => group.length > 1)
    .map((group) => {
      const list = group.map((name) => JSON.stringify(name)).join(' and ');
      return `${source}: the labels ${list} are different classes; write them alike if they are one`;
    });
}

/**
 * Without letter case, inner white space, invisible characters, compatibility forms, and `.0` of
 * numbers.
 */
function appearance(name: string): string {
  const bare = name
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[\s\p{Cf}]+/gu, '');
  return /^[+-]?\d{1,15}(\.\d+)?$/.test(bare) ? String(Number(bare)) : bare;
}
