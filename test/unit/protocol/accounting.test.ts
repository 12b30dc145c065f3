import { expect, it } from 'vitest';
import { evaluatedRows, stepAccounting } from '../../../ts/protocol/accounting.ts';

const paper = {
  batchSize: 4,
  lastBatch: 'drop',
  maxSteps: 5000,
  epochs: null,
  warmupRatio: 0.06,
} as const;

it.each([
  // rows, N, l, epochs, batches run, no-op share, M rescaled, M plain; the pairs are for 1 and 2
  // processes
  ['winogrande_s', 640, 640, 160, 32, [5120, 5120], [0.023, 0.023], [316, 158], [160, 80]],
  ['ARC-Challenge', 1119, 1116, 279, 18, [5022, 5004], [0.004, 0.001], [393, 195], [279, 139]],
  ['ARC-Easy', 2251, 2248, 562, 9, [5058, 5058], [0.011, 0.011], [517, 258], [562, 281]],
  ['winogrande_m', 2558, 2556, 639, 8, [5112, 5104], [0.022, 0.02], [544, 271], [639, 319]],
  ['obqa', 4957, 4956, 1239, 5, [6195, 6190], [0.19, 0.19], [706, 352], [1239, 619]],
  ['boolq', 9427, 9424, 2356, 3, [7068, 7068], [0.29, 0.29], [909, 454], [2356, 1178]],
] as const)(
  'reference: accounts for %s on 1 and 2 processes',
  (_, rows, n, l, epochs, run, noOp, rescaled, plain) => {
    for (const [index, processes] of [1, 2].entries()) {
      const accounting = stepAccounting('reference', { ...paper, rows, processes });
      expect(accounting).toMatchObject({
        rowsPerEpoch: n,
        batchesPerEpoch: l,
        batchesPerUpdate: processes,
        epochs,
        batchesRun: run[index],
        updates: (run[index] ?? 0) / processes,
        schedule: { total: 5000, warmup: 300, warmupStart: 0, stride: processes },
        klCycle: { auto: rescaled[index], rescaled: rescaled[index], epoch: plain[index] },
      });
      expect(Math.abs(accounting.noOpShare - (noOp[index] ?? 0))).toBeLessThan(
        (noOp[index] ?? 0) > 0.1 ? 0.006 : 0.0006,
      );
    }
  },
);

it.each([
  ['rte', 2490, 78, 65, 17],
  ['mrpc', 3668, 115, 44, 19],
  ['wic', 5428, 170, 30, 23],
  ['cola', 8551, 268, 19, 27],
  ['boolq', 9427, 295, 17, 28],
])(
  'reference: accounts for %s on four processes of batch 32 that drop nothing',
  (_, rows, l, epochs, rescaled) => {
    const accounting = stepAccounting('reference', {
      ...paper,
      rows,
      batchSize: 32,
      processes: 4,
      lastBatch: 'keep',
    });
    expect(accounting).toMatchObject({
      ...{ batchesPerEpoch: l, epochs, klCycle: { rescaled } },
      batchesRun: epochs * l, // the last round of an epoch is one of fewer processes
    });
    expect(Math.abs(accounting.updates - 1280)).toBeLessThan(50);
  },
);

it('reference: without a number of steps the schedule is as long as the epochs', () => {
  const accounting = stepAccounting('reference', {
    ...paper,
    rows: 2251,
    maxSteps: null,
    epochs: 3,
  });
  expect(accounting).toMatchObject({
    epochs: 3,
    updates: 3 * 562,
    schedule: { total: 3 * 562, warmup: 3 * 562 * 0.06, warmupStart: 0, stride: 1 },
    noOpShare: 0,
  });
});

it('corrected: counts updates, keeps the last batch, stops at T', () => {
  const options = {
    batchSize: 4,
    lastBatch: 'keep',
    maxSteps: null,
    epochs: 3,
    warmupRatio: 0.06,
    rows: 301,
  } as const;
  expect(stepAccounting('corrected', options)).toMatchObject({
    batchesPerEpoch: 76,
    updatesPerEpoch: 76,
    rowsPerEpoch: 301,
    updates: 228,
    batchesRun: 228,
    schedule: { total: 228, warmup: 228 * 0.06, warmupStart: 1, stride: 1 },
    klCycle: { auto: 23 },
  });
  expect(stepAccounting('corrected', { ...options, maxSteps: 100 })).toMatchObject({
    updates: 100,
    epochs: 2,
    batchesRun: 100,
  });
  expect(stepAccounting('corrected', { ...options, maxSteps: 4 }).klCycle.auto).toBe(1);
  expect(stepAccounting('corrected', { ...options, gradAccumulation: 8 })).toMatchObject({
    updatesPerEpoch: 10,
    batchesPerUpdate: 8,
    updates: 30,
    batchesRun: 228,
  });
});

it('corrected: counts the batches of whole updates where the rest is dropped', () => {
  const options = { ...paper, rows: 301, maxSteps: 20, gradAccumulation: 8 };
  // 75 batches, 9 updates of 8: two epochs and two updates.
  expect(stepAccounting('corrected', options)).toMatchObject({
    epochs: 3,
    batchesRun: 2 * 72 + 2 * 8,
  });
});

it('has no share of updates where there are none', () => {
  const options = { ...paper, rows: 3, maxSteps: null, epochs: 3 };
  expect(stepAccounting('reference', options)).toMatchObject({ updates: 0, noOpShare: 0 });
});

it.each([
  // processes, accumulation, M rescaled, M of an epoch, pulses until the rate is 0
  [1, 1, 316, 160, 15],
  [2, 1, 158, 80, 15],
  [1, 2, 158, 80, 15],
  [2, 2, 79, 40, 15],
])(
  'reference: %i processes of %i accumulated batches have as many pulses as one',
  (processes, gradAccumulation, rescaled, epoch, pulses) => {
    const run = stepAccounting('reference', { ...paper, rows: 640, processes, gradAccumulation });
    expect(run.klCycle).toEqual({ auto: rescaled, rescaled, epoch });
    expect(Math.floor(run.schedule.total / run.schedule.stride / rescaled)).toBe(pulses);
  },
);

it.each([
  // batch size, processes, then winogrande, ARC-C, ARC-E, obqa, boolq, MMLU-chem, MMLU-phy
  [4, 1, [1264, 296, 568, 500, 3268, 100, 100]],
  [4, 2, [1264, 296, 568, 496, 3264, 96, 96]],
  [16, 2, [null, 288, 544, null, null, 96, 96]],
  [50, 1, [1250, 250, 550, 500, 3250, 100, 100]],
])(
  'reference: evaluates whole rounds of batch %i × %i processes',
  (batchSize, processes, expected) => {
    const sizes = [1267, 299, 570, 500, 3270, 100, 102];
    for (const [index, rows] of sizes.entries()) {
      const count = evaluatedRows({ rows, batchSize, processes, tail: 'drop' });
      if (expected[index] !== null) expect(count).toBe(expected[index]);
      expect(evaluatedRows({ rows, batchSize, processes, tail: 'keep' })).toBe(rows);
    }
  },
);
