import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runNode } from '../../support/node-process.ts';

const sources = join(import.meta.dirname, '../../../crates/napi-bindings/src');

it('turns requests away when a thousand wait, and answers the others', async () => {
  const { stdout, stderr } = await runNode(`
    const model = await bpeft.loadModel({ model: 'builtin:random', threads: 1 });
    const adapter = await model.createAdapter(shape);
    const busy = adapter.predict(batchOf(8, 300), { ...plain, samples: 2 });
    const ids = Uint32Array.of(104, 105);
    const answers = await Promise.all(Array.from({ length: 3000 }, () => model.decode(ids).catch((error) => error)));
    const refused = answers.filter((answer) => answer !== 'hi');
    console.log(refused.length > 0, answers.length - refused.length >= 1023);
    console.log(new Set(refused.map(({ code, message, hint }) => [code, message, hint].join(' | '))));
    await busy;
    console.log(await model.decode(ids));
    await model.dispose();
  `);
  expect(stderr).toBe('');
  expect(stdout).toBe(
    `true true
Set(1) {
  'BPEFT_BUSY | the model has 1024 requests waiting and takes no more | wait for answers before asking more, or turn callers away'
}
hi
`,
  );
});

it('forecasts the KL beside the event loop, and not without end', async () => {
  const { stdout, stderr } = await runNode(`
    const { loadNative } = await import(dist + 'engine/native.js');
    const forecast = (steps) => loadNative().forecastKl(JSON.stringify({
      steps, schedule: { total: steps, warmup: 0, warmupStart: 0, stride: 1 }, klLr: 0.01, klCycle: { kind: 'uniform', length: 1 },
      priorStd: 0.2, klForm: 'exact', sigma: 'square', sigmaStart: 0.002,
    }));
    let ticks = 0;
    const ticking = setInterval(() => { ticks += 1; }, 5);
    const before = performance.now();
    const { sigmaEnd } = JSON.parse(await forecast(20_000_000));
    const time = performance.now() - before;
    clearInterval(ticking);
    console.log(ticks > time / 5 / 10, time > 50, Math.abs(sigmaEnd - 0.2) < 1e-3);
    const { code, message } = await forecast(1e15).catch((error) => error);
    console.log(code, message);
  `);
  expect(stderr).toBe('');
  expect(stdout).toBe(
    'true true true\nBPEFT_INVALID_CONFIG steps must be at most 100000000, got 1000000000000000\n',
  );
});

it('gives its memory back when a model is disposed, whatever the host still holds', async () => {
  const { stdout, stderr } = await runNode(`
    const resident = () => process.memoryUsage().rss / 2 ** 20;
    const use = async (prompts) => {
      const model = await bpeft.loadModel({ model: 'builtin:tiny' });
      const adapter = await model.createAdapter({ ...shape, rank: 64, posterior: null });
      const trainer = await bpeft.Trainer.create(model, adapter, run);
      await trainer.step([batchOf(prompts, 500)]);
      return { model, handles: [adapter, trainer] };
    };
    await (await use(1)).model.dispose();
    const before = resident();
    const { model, handles } = await use(16);
    const peak = resident();
    await model.dispose();
    const after = resident();
    console.log(JSON.stringify({ before, peak, after, held: handles.length }));
  `);
  expect(stderr).toBe('');
  const { before, peak, after } = JSON.parse(stdout) as {
    before: number;
    peak: number;
    after: number;
  };
  expect(peak - before).toBeGreaterThan(100);
  expect(after - before).toBeLessThan((peak - before) / 10);
});

it('gives the memory of adapters and trainers back one by one, while their model answers on', async () => {
  const { stdout, stderr } = await runNode(`
    const resident = () => process.memoryUsage().rss / 2 ** 20;
    const model = await bpeft.loadModel({ model: 'builtin:tiny' });
    const handles = [];
    const use = async () => {
      const adapter = await model.createAdapter({ ...shape, rank: 256, posterior: null });
      const trainer = await bpeft.Trainer.create(model, adapter, run);
      await trainer.step([batchOf(1, 8)]);
      handles.push(adapter, trainer);
    };
    await use();
    const before = resident();
    for (let count = 0; count < 20; count += 1) await use();
    const peak = resident();
    const code = (error) => error.code;
    const [, trainer] = handles;
    await trainer.dispose();
    const step = await trainer.step([batchOf(1, 8)]).catch(code);
    const logits = await handles[0].predict(batchOf(1, 8), plain);
    for (const handle of handles) await handle.dispose();
    await handles[0].dispose(); // once more
    const late = await handles[0].predict(batchOf(1, 8), plain).catch(code);
    const after = resident();
    const fresh = await model.createAdapter({ ...shape, posterior: null });
    const isAlive = (await fresh.predict(batchOf(1, 8), plain)).length === 2;
    await model.dispose();
    await fresh.dispose(); // gone with its model
    console.log(JSON.stringify({ before, peak, after, step, logits: logits.length, late, isAlive }));
  `);
  expect(stderr).toBe('');
  const { before, peak, after, ...seen } = JSON.parse(stdout) as Record<string, unknown> & {
    [size in 'before' | 'peak' | 'after']: number;
  };
  expect(seen).toEqual({
    step: 'BPEFT_WORKER_STOPPED',
    logits: 2,
    late: 'BPEFT_WORKER_STOPPED',
    isAlive: true,
  });
  expect(peak - before).toBeGreaterThan(50);
  expect(after - before).toBeLessThan((peak - before) / 4);
});

/** A panic that leaves an `extern "C"` function ends the process. */
it('catches a panic in every function that Node calls', () => {
  const entries = readdirSync(sources).flatMap((name) => {
    const text = readFileSync(join(sources, name), 'utf8');
    return [...text.matchAll(/#\[napi(?<options>[^\]]*)\]\s*pub fn (?<name>\w+)/g)].map(
      ({ groups }) => groups,
    );
  });
  expect(entries.length).toBeGreaterThan(15);
  const bare = entries.filter((entry) => !entry?.options?.includes('catch_unwind'));
  expect(bare.map((entry) => entry?.name)).toEqual([]);
});
