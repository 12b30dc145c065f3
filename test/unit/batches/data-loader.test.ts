import { expect, it } from 'vitest';
import { BatchOrder } from '../../../ts/batches/batch-order.ts';
import {
  DataLoader,
  type EvaluationBatch,
  type EvaluationOptions,
  evaluationBatches,
  readBatches,
} from '../../../ts/batches/data-loader.ts';
import { raggedBatch } from '../../../ts/batches/ragged-batch.ts';
import { permutation } from '../../../ts/batches/shuffle.ts';
import type { EncodedExample } from '../../../ts/datasets/tokens/encode.ts';
import {
  ExamplePacker,
  type Examples,
  type PackedExamples,
} from '../../../ts/datasets/tokens/packed-examples.ts';
import { MemoryWords } from '../../../ts/datasets/tokens/words.ts';

function examples(count: number): EncodedExample[] {
  return Array.from({ length: count }, (_, row) => ({
    row,
    noise: row,
    id: null,
    ids: Uint32Array.from({ length: 1 + (row % 3) }, (_, index) => 100 * row + index),
    answers: Uint32Array.from({ length: 2 + (row % 2) }, (_, index) => index),
    label: row % 2,
    truncated: false,
  }));
}

const corrected = { batchSize: 4, seed: 1, order: 'shuffled', lastBatch: 'keep' } as const;
const reference = { batchSize: 4, seed: 1, order: 'file', lastBatch: 'drop' } as const;

function rowsOf(loader: DataLoader, updates: number): number[][][] {
  return Array.from({ length: updates }, () => loader.next().map(({ rows }) => [...rows]));
}

it('packs prompts and answers without padding', () => {
  const [, second, third] = examples(3);
  if (second === undefined || third === undefined) throw new Error('three were made');
  expect(raggedBatch([third, { ...second, label: -1 }])).toEqual({
    ids: Uint32Array.of(200, 201, 202, 100, 101),
    offsets: Uint32Array.of(0, 3, 5),
    answers: Uint32Array.of(0, 1, 0, 1, 2),
    answerOffsets: Uint32Array.of(0, 2, 5),
    labels: Int32Array.of(0, -1),
    rows: Uint32Array.of(2, 1),
  });
});

it('gives each member of an ensemble the order of its own seed, batch by batch', () => {
  const batchesPerUpdate = 2;
  const ofEnsemble = rowsOf(
    new DataLoader(examples(10), { ...corrected, batchesPerUpdate, members: 3 }),
    4,
  );
  const ofMembers = [1, 2, 3].map((seed) =>
    rowsOf(new DataLoader(examples(10), { ...corrected, batchesPerUpdate, seed }), 4),
  );
  const interleaved = ofMembers[0]?.map((update, at) =>
    update.flatMap((_, batch) => ofMembers.map((member) => member[at]?.[batch])),
  );
  expect(ofEnsemble).toEqual(interleaved);
  expect(ofMembers[0]).not.toEqual(ofMembers[1]);
});

it('reference: file order in every epoch, the last batch dropped', () => {
  const loader = new DataLoader(examples(10), reference);
  expect([loader.batchesPerEpoch, loader.updatesPerEpoch]).toEqual([2, 2]);
  const epoch = [[[0, 1, 2, 3]], [[4, 5, 6, 7]]];
  expect(rowsOf(loader, 4)).toEqual([...epoch, ...epoch]);
});

it('corrected: shuffled by seed and epoch, the last batch kept', () => {
  const loader = new DataLoader(examples(10), corrected);
  for (const epoch of [0, 1]) {
    const batches = rowsOf(loader, 3).flat();
    expect(batches.map((rows) => rows.length)).toEqual([4, 4, 2]);
    expect(batches.flat()).toEqual([...permutation(10, 1, epoch)]);
  }
  expect(loader.cursor).toEqual({ epoch: 2, batch: 0 });
});

it('reference: two processes take two batches per update and drop an incomplete round', () => {
  const loader = new DataLoader(examples(12), { ...reference, batchesPerUpdate: 2 });
  expect([loader.batchesPerEpoch, loader.updatesPerEpoch]).toEqual([3, 1]);
  expect(rowsOf(loader, 2)).toEqual([
    [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ],
    [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ],
  ]);
});

it('corrected: gradient accumulation keeps an incomplete round', () => {
  const loader = new DataLoader(examples(10), { ...corrected, batchesPerUpdate: 2 });
  expect(rowsOf(loader, 2).map((batches) => batches.map((rows) => rows.length))).toEqual([
    [4, 4],
    [2],
  ]);
  expect(loader.cursor).toEqual({ epoch: 1, batch: 0 });
});

it.each([
  ['corrected', corrected, 1],
  ['reference', reference, 1],
  ['with accumulation', corrected, 2],
])('resumes anywhere: %s', (_, options, batchesPerUpdate) => {
  const data = examples(23);
  const loader = new DataLoader(data, { ...options, batchesPerUpdate });
  for (let update = 0; update < 14; update += 1) {
    const resumed = new DataLoader(data, { ...options, batchesPerUpdate });
    resumed.seek(JSON.parse(JSON.stringify(loader.cursor)));
    expect(resumed.next()).toEqual(loader.next());
    expect(resumed.cursor).toEqual(loader.cursor);
  }
  expect(loader.cursor.epoch).toBeGreaterThan(1);
});

it.each([
  ['past the epoch', { epoch: 0, batch: 6 }],
  ['in the middle of an update', { epoch: 0, batch: 1 }],
  ['before the start', { epoch: -1, batch: 0 }],
])('refuses a cursor %s', (_, cursor) => {
  const loader = new DataLoader(examples(23), { ...corrected, batchesPerUpdate: 2 });
  expect(() => loader.seek(cursor)).toThrow(expect.objectContaining({ code: 'BPEFT_CHECKPOINT' }));
});

it('refuses rows that cannot be trained on, and too few of them', () => {
  const [first, ...rest] = examples(6);
  if (first === undefined) throw new Error('six were made');
  expect(
    () =>
      new DataLoader([...rest, { ...first, row: 41, label: -1 }], { ...corrected, name: 'quiz' }),
  ).toThrow('quiz: row 41 has no answer to train on');
  expect(() => new DataLoader(rest, { ...reference, batchesPerUpdate: 2, name: 'quiz' })).toThrow(
    'quiz: needs at least 8 rows for one update, got 5',
  );
});

it('evaluates all rows in file order, or whole rounds of batches', async () => {
  const data = examples(23);
  const batches = async (options: EvaluationOptions, from: typeof data | Examples = data) => {
    const found: EvaluationBatch[] = [];
    for await (const batch of evaluationBatches(from, options)) found.push(batch);
    return found;
  };
  const sizes = async (options: Omit<EvaluationOptions, 'batchSize'>): Promise<number[]> =>
    (await batches({ batchSize: 4, ...options })).map((one) => one.examples.length);
  expect(await sizes({ tail: 'keep' })).toEqual([4, 4, 4, 4, 4, 3]);
  expect(await sizes({ tail: 'drop' })).toEqual([4, 4, 4, 4, 4]);
  expect(await sizes({ tail: 'drop', processes: 2 })).toEqual([4, 4, 4, 4]);
  const all = await batches({ batchSize: 5, tail: 'keep' });
  expect(all.flatMap(({ batch }) => [...batch.rows])).toEqual(data.map(({ row }) => row));
  expect(await batches({ batchSize: 5, tail: 'keep' }, await packed(data))).toEqual(all);
});

it('gives the same batches from examples that are read when they are needed', async () => {
  const data = examples(23);
  const options = { ...corrected, batchesPerUpdate: 2, members: 2 };
  const loader = new DataLoader(data, options);
  const kept = await packed(data);
  const order = new BatchOrder(kept, options);
  for (let update = 0; update < 8; update += 1) {
    expect(await readBatches(kept, order.next())).toEqual(loader.next());
    expect(order.cursor).toEqual(loader.cursor);
  }
});

async function packed(data: readonly EncodedExample[]): Promise<PackedExamples> {
  const packer = new ExamplePacker(data.length, new MemoryWords());
  await packer.append(data);
  return packer.finish();
}
