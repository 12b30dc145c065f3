import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { assetPath } from '../../ts/assets.ts';
import type { Adapter } from '../../ts/engine/adapter.ts';
import type { Progress } from '../../ts/engine/call.ts';
import { type BayesianModel, loadModel } from '../../ts/engine/model.ts';
import { loadNative } from '../../ts/engine/native.ts';
import { Trainer } from '../../ts/engine/trainer.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const shape = {
  rank: 2,
  alpha: 4,
  dropout: 0,
  targetModules: ['q_proj'],
  posterior: null,
  seed: 1,
};
const point = { lr: 1e-3, weightDecay: 0, adamEpsilon: 1e-6, maxGradNorm: 0 };
const schedule = { total: 8, warmup: 0, warmupStart: 0, stride: 1 };
const training = { seed: 1, method: { id: 'mle', point: { ...point, schedule } } } as const;

let model: BayesianModel;
let adapter: Adapter;
let trainer: Trainer;

beforeAll(async () => {
  model = await loadModel({ model: 'builtin:random' });
  adapter = await model.createAdapter(shape);
  trainer = await Trainer.create(model, adapter, training);
});
afterAll(() => model.dispose());

it('tells how many tensors of a model are read, to the last', async () => {
  const news: Progress[] = [];
  await using tiny = await loadModel(
    { model: 'builtin:tiny' },
    { onProgress: (one) => news.push(one) },
  );
  const total = Object.values(tiny.info.tensorTypes).reduce((sum, count) => sum + count, 0);
  const reading = news.filter(({ activity }) => activity === 'reading');
  expect(reading.at(-1)).toEqual({ activity: 'reading', unit: 'tensors', done: total, total });
  expect(reading.map(({ done }) => done)).toEqual(
    reading.map(({ done }) => done).toSorted((a, b) => a - b),
  );
});

it('tells when it begins to save or to restore, and when it has', async () => {
  const folder = temporaryFolder();
  const news: string[] = [];
  const onProgress = ({ activity, unit, done, total }: Progress) =>
    news.push(`${activity} ${done}/${total} ${unit}`);
  await adapter.save(join(folder, 'adapter'), { baseModel: 'random' }, { onProgress });
  await trainer.saveState(folder, { onProgress });
  await trainer.loadState(folder, { onProgress });
  const { tensors } = adapter.info;
  expect(news).toEqual(
    ['saving', 'saving', 'reading'].flatMap((activity) => [
      `${activity} 0/${tensors} tensors`,
      `${activity} ${tensors}/${tensors} tensors`,
    ]),
  );
});

it('rejects with an AbortError where its signal has fired, and leaves nothing behind', async () => {
  const folder = temporaryFolder();
  const reason = new Error('no longer wanted');
  const signal = AbortSignal.abort(reason);
  const calls = {
    load: () => loadModel({ model: 'builtin:random' }, { signal }),
    encode: () => model.encode(['a text'], false, { signal }),
    loadAdapter: () => model.loadAdapter(join(folder, 'adapter'), {}, { signal }),
    save: () => adapter.save(join(folder, 'adapter'), { baseModel: 'random' }, { signal }),
    saveState: () => trainer.saveState(folder, { signal }),
    loadState: () => trainer.loadState(folder, { signal }),
  };
  for (const [name, call] of Object.entries(calls)) {
    await expect(call(), name).rejects.toMatchObject({
      name: 'AbortError',
      code: 'BPEFT_ABORTED',
      cause: reason,
    });
  }
  expect(readdirSync(folder)).toEqual([]);
});

it('lets go of what it waits for once its signal fires', async () => {
  const waits = new AbortController();
  const encoding = model.encode(
    Array.from({ length: 2000 }, () => 'a long text '.repeat(200)),
    false,
    waits,
  );
  waits.abort();
  await expect(encoding).rejects.toMatchObject({ name: 'AbortError' });
  expect([...(await model.encode(['hi'], false)).ids]).toEqual([104, 105]);
});

it('reads no further tensor of a model once it is to stop', async () => {
  const { NativeAbort, NativeModel, NativeReading } = loadNative();
  const source = { kind: 'file', path: assetPath('tiny.gguf') };
  const options = { source, precision: 'f32', quantize: null, threads: 1, device: { kind: 'cpu' } };
  const [reading, abort] = [new NativeReading(), new NativeAbort()];
  abort.abort();
  const loading = NativeModel.load(JSON.stringify(options), reading, abort);
  await expect(loading).rejects.toMatchObject({ code: 'BPEFT_ABORTED' });
  expect(reading.total()).toBeGreaterThan(0);
  expect(reading.done()).toBe(0);
});
