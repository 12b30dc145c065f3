/**
 * How ranks share the rows of an update: each micro-batch is cut into as many runs as there are.
 */

/** Which part of every batch is this process's. */
export interface Division {
  readonly rank: number;
  readonly size: number;
  /** Batches of `batchSize` rows that make one micro-batch, and so share its draws. */
  readonly merged: number;
}

export const UNDIVIDED: Division = { rank: 0, size: 1, merged: 1 };

export interface Share {
  /** Positions of each micro-batch, one list per member; the last are missing where it has none. */
  readonly batches: readonly Uint32Array[];
  /** Rows of each member in the whole update. */
  readonly rows: number;
}

/**
 * Rank r's part: ⌊n/size⌋ rows of n, one more for the first n mod size ranks.
 * @param update positions of each micro-batch, one list per member
 */
export function shareOf(
  update: readonly Uint32Array[],
  members: number,
  { rank, size }: Division,
): Share {
  const batches = update.map((positions) => {
    const [even, more] = [Math.floor(positions.length / size), positions.length % size];
    const startOf = (of: number) => of * even + Math.min(of, more);
    return positions.subarray(startOf(rank), startOf(rank + 1));
  });
  const rows = update.reduce((sum, { length }) => sum + length, 0) / members;
  return { batches: batches.filter(({ length }) => length > 0), rows };
}
