/**
 * Whether a device computes what it should: three updates of BLoB and four posterior samples of the
 * random model, against the numbers of the CPU's plain path.
 */

import { raggedBatch } from '../batches/ragged-batch.ts';
import { loadModel } from '../engine/model.ts';
import { Trainer } from '../engine/trainer.ts';
import { asBpeftError } from '../errors.ts';

export interface SelfTest {
  readonly device: string;
  readonly passed: boolean;
  readonly seconds: number;
  /** Largest difference from what is expected, relative to 1; null when it failed before. */
  readonly difference: number | null;
  /** Why it failed. */
  readonly message: string | null;
  readonly hint: string | null;
}

/** NLL of the updates, in nats, then the logits of the first prompt's classes in each sample. */
const EXPECTED: readonly number[] = [
  ...[2.27052, 1.28621, 0.199622],
  ...[4.02007, -16.4407, 3.9355, -16.4383, 4.06446, -16.317, 4.06925, -16.31434],
];

/** Sums in another order, three updates long. */
const TOLERANCE = 1e-3;

export async function selfTest(device: string): Promise<SelfTest> {
  const start = performance.now();
  const done = (
    outcome: Pick<SelfTest, 'passed' | 'difference' | 'message' | 'hint'>,
  ): SelfTest => ({
    device,
    ...outcome,
    seconds: Math.round(performance.now() - start) / 1000,
  });
  try {
    const numbers = await compute(device);
    const differences = EXPECTED.map((expected, index) =>
      Math.abs((numbers[index] ?? Number.NaN) - expected),
    );
    const difference = Math.max(0, ...differences);
    const passed = difference <= TOLERANCE;
    if (passed) return done({ passed, difference, message: null, hint: null });
    const message = `its numbers must be those of the CPU within ${TOLERANCE}, they are ${difference} apart`;
    const hint = 'report it with the output of bpeft doctor --json';
    return done({ passed, difference, message, hint });
  } catch (error) {
    const { message, hint } = asBpeftError(error);
    return done({ passed: false, difference: null, message, hint: hint ?? null });
  }
}

/** What {@link EXPECTED} holds, on a device. */
export async function compute(device: string): Promise<number[]> {
  await using model = await loadModel({ model: 'builtin:random', device });
  const adapter = await model.createAdapter({
    ...{ rank: 4, alpha: 8, dropout: 0, targetModules: ['q_proj', 'v_proj', 'lm_head'], seed: 1 },
    posterior: { sigma: 'square', initEps: 0.05 },
  });
  const point = {
    ...{ lr: 0.01, weightDecay: 0, adamEpsilon: 1e-6, maxGradNorm: 0 },
    schedule: { total: 10, warmup: 0, warmupStart: 0, stride: 1 },
  };
  const trainer = await Trainer.create(model, adapter, {
    seed: 1,
    method: {
      ...{ id: 'blob', point, priorStd: 0.2, klForm: 'exact', klLr: 0.01, trainSamples: 1 },
      ...{ klCycle: { kind: 'uniform', length: 10 }, average: 'logits', noise: 'token' },
    },
  });
  const numbers: number[] = [];
  for (let step = 0; step < 3; step += 1) numbers.push((await trainer.step([BATCH])).nll);
  const options = { samples: 4, noise: 'token', seed: 1, stochasticLayers: null } as const;
  const logits = await adapter.predict(BATCH, options);
  const classes = BATCH.answers.length;
  for (let sample = 0; sample < options.samples; sample += 1) {
    numbers.push(...logits.subarray(sample * classes, sample * classes + 2));
  }
  return numbers;
}

const BATCH = raggedBatch(
  Array.from({ length: 4 }, (_, row) => ({
    ...{ row, noise: row, id: null, label: row % 2, truncated: false },
    ids: Uint32Array.from({ length: 20 + 3 * row }, (_, at) => (at * 31 + row) % 256),
    answers: Uint32Array.of(65, 66),
  })),
);
