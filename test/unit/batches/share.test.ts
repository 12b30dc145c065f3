import { expect, it } from 'vitest';
import { type Division, shareOf } from '../../../ts/batches/share.ts';

const positions = (from: number, count: number) =>
  Uint32Array.from({ length: count }, (_, index) => from + index);

function sharesOf(update: readonly Uint32Array[], members: number, size: number) {
  return Array.from({ length: size }, (_, rank) => {
    const division: Division = { rank, size, merged: size };
    const { batches, rows } = shareOf(update, members, division);
    return { batches: batches.map((batch) => [...batch]), rows };
  });
}

it('gives each rank its run of every micro-batch, and all the rows of the update', () => {
  const update = [positions(0, 8), positions(8, 8), positions(16, 5)];
  expect(sharesOf(update, 1, 2)).toEqual([
    {
      batches: [positions(0, 4), positions(8, 4), positions(16, 3)].map((batch) => [...batch]),
      rows: 21,
    },
    {
      batches: [positions(4, 4), positions(12, 4), positions(19, 2)].map((batch) => [...batch]),
      rows: 21,
    },
  ]);
});

it('counts the rows of a member once', () => {
  const update = [positions(0, 4), positions(100, 4)];
  const [first, second] = sharesOf(update, 2, 2);
  expect(first).toEqual({
    batches: [
      [0, 1],
      [100, 101],
    ],
    rows: 4,
  });
  expect(second).toEqual({
    batches: [
      [2, 3],
      [102, 103],
    ],
    rows: 4,
  });
});

it.each([1, 2, 3, 5, 7, 8, 11])(
  'gives every row to one of %i ranks, and leaves out the last micro-batches alone',
  (size) => {
    for (let count = 1; count <= 12; count += 1) {
      for (let last = 1; last <= count; last += 1) {
        const shares = sharesOf([positions(0, count), positions(count, last)], 1, size);
        const all = shares.flatMap(({ batches }) => batches.flat());
        expect(all.toSorted((a, b) => a - b)).toEqual([...positions(0, count + last)]);
        // The engine names micro-batches by their place: one alone must be the first.
        for (const { batches } of shares) {
          if (batches.length === 1) expect(batches[0]?.every((at) => at < count)).toBe(true);
        }
      }
    }
  },
);

it('leaves the rows of a process that trains alone as they are', () => {
  const update = [positions(3, 4), positions(9, 2)];
  const { batches, rows } = shareOf(update, 1, { rank: 0, size: 1, merged: 1 });
  expect([batches.map((batch) => [...batch]), rows]).toEqual([
    [
      [3, 4, 5, 6],
      [9, 10],
    ],
    6,
  ]);
});
