import { expect, it } from 'vitest';
import { raggedBatch } from '../../ts/batches/ragged-batch.ts';
import { loadModel } from '../../ts/engine/model.ts';
import { Trainer } from '../../ts/engine/trainer.ts';

it('does not grow over 10,000 steps', { timeout: 300_000 }, async () => {
  await using model = await loadModel({ model: 'builtin:random', precision: 'bf16' });
  const adapter = await model.createAdapter({
    rank: 4,
    alpha: 8,
    dropout: 0.1,
    targetModules: ['q_proj', 'v_proj', 'lm_head'],
    posterior: { sigma: 'square', initEps: 0.05 },
    seed: 1,
  });
  const trainer = await Trainer.create(model, adapter, {
    seed: 1,
    method: {
      id: 'blob',
      point: {
        lr: 1e-4,
        schedule: { total: 10_000, warmup: 0, warmupStart: 0, stride: 1 },
        weightDecay: 0,
        adamEpsilon: 1e-6,
        maxGradNorm: 1,
      },
      priorStd: 0.2,
      klForm: 'exact',
      klLr: 0.001,
      klCycle: { kind: 'pulse', length: 100 },
      trainSamples: 1,
      average: 'logits',
      noise: 'token',
    },
  });
  // Lengths change from step to step, as in training.
  const batches = [3, 17, 40, 8].map((length, index) => {
    const ids = Uint32Array.from({ length }, (_, at) => (at * 31 + index) % 256);
    return raggedBatch([
      {
        row: index,
        noise: index,
        id: null,
        ids,
        answers: Uint32Array.of(65, 66),
        label: 1,
        truncated: false,
      },
    ]);
  });
  const steps = async (count: number) => {
    for (let step = 0; step < count; step += 1) {
      const batch = batches[step % batches.length];
      if (batch !== undefined) await trainer.step([batch]);
    }
    return process.memoryUsage().rss / 2 ** 20;
  };
  const before = await steps(2_000);
  const after = await steps(8_000);
  expect(after - before).toBeLessThan(16);
});
