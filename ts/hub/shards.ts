/** Files of one table whose names say how many there are: `train-00000-of-00002.parquet`. */

const SHARD = /^(.*-)\d{5}-of-(\d{5})(?:-[0-9a-f]+)?(\.[^/]+)$/;

/** Whether a part of these files can be told from all of them. */
export function areCounted(paths: readonly string[]): boolean {
  return paths.every((path) => SHARD.test(path));
}

/** What is missing of files that are counted, for people; null: nothing. */
export function missingShards(paths: readonly string[]): string | null {
  const found = new Map<string, { count: number; total: number }>();
  for (const path of paths) {
    const [, start = '', total = '', ending = ''] = SHARD.exec(path) ?? [];
    if (total === '') continue;
    const name = `${start}*-of-${total}${ending}`;
    found.set(name, { count: (found.get(name)?.count ?? 0) + 1, total: Number(total) });
  }
  const lacking = [...found].find(([, { count, total }]) => count < total);
  return lacking === undefined ? null : `${lacking[0]}: ${lacking[1].count} files are there`;
}
