import { describe, expect, it } from 'vitest';

const { summary } = await import('../../../tools/gpu-check/kernel-times.mjs');
const { H200, modelled } = await import('../../../bench/cuda-roofline.mjs');

describe('times of kernels', () => {
  it('sums by name, and counts what overlaps once', () => {
    // Nanoseconds since 1970 are more than a double can hold.
    const at = (offset: number) => String(1_800_000_000_000_000_000n + BigInt(offset));
    const line = (kind: number, begin: number, end: number, bytes: number, name: string) =>
      `${kind}\t${at(begin)}\t${at(end)}\t${bytes}\t${name}\n`;
    const text =
      line(10, 1000, 3000, 0, 'norm') +
      line(10, 0, 1000, 0, 'norm') +
      line(1, 2500, 5000, 64, 'copy to the host') +
      line(10, 7000, 7001, 0, 'a kernel with spaces');
    const { busy_s, kernels } = summary(text);
    expect(busy_s).toBeCloseTo(5001e-9, 12);
    expect(kernels.map(({ name }: { name: string }) => name)).toEqual([
      'norm',
      'copy to the host',
      'a kernel with spaces',
    ]);
    expect(kernels[0]).toMatchObject({ launches: 2, seconds: expect.closeTo(3000e-9, 12) });
    expect(kernels[1]).toMatchObject({ bytes: 64 });
  });
});

describe('the model of costs', () => {
  const idle = { tensor_flop: 0, functions: 0, atomics: 0, shared: 0, writes: 0, block_bytes: 0 };
  const kernel = { kernel: 'k', threads: 256, blocks: 1e6, reads: 0, flop: 0, ...idle };
  const one = (line: object) => {
    const counts = { step: [line], answers: [], peak_bytes: 0 };
    return modelled({ shallow: counts, deep: counts, more: 0 }).kernels[0];
  };

  it('takes what is longest of memory and arithmetic', () => {
    const bytes = one({ ...kernel, flop: 1, distinct_bytes: H200.bandwidth });
    expect(bytes).toMatchObject({ limit: 'memory', seconds: expect.closeTo(1 + H200.launch, 9) });
    const flop = one({ ...kernel, flop: 2 * H200.f32, distinct_bytes: 1 });
    expect(flop).toMatchObject({
      limit: 'arithmetic',
      seconds: expect.closeTo(2 + H200.launch, 9),
    });
  });

  it('slows a launch of few threads down, in proportion', () => {
    const few = one({ ...kernel, blocks: 66, threads: 128, distinct_bytes: H200.bandwidth });
    expect(few).toMatchObject({ limit: 'memory, few threads', seconds: expect.closeTo(8, 4) });
  });

  it('knows products by their operands: tensor cores in bf16, none in f32', () => {
    const product = { product: [4096, 16_384, 4096], batch: 1 };
    const flop = 2 * 4096 * 16_384 * 4096;
    const bf16 = one({ ...product, operand_bytes: 2 });
    const seconds = (rate: number) => expect.closeTo(flop / rate + H200.launch, 9);
    expect(bf16).toMatchObject({ seconds: seconds(H200.tensor) });
    const f32 = one({ ...product, operand_bytes: 4 });
    expect(f32).toMatchObject({ seconds: seconds(H200.f32) });
    const narrow = one({ product: [4096, 1, 4096], batch: 1, operand_bytes: 2 });
    expect(narrow).toMatchObject({ limit: 'memory' });
  });

  it('adds for each further block what the third one added', () => {
    const row = { ...kernel, distinct_bytes: H200.bandwidth };
    const counts = (times: number, peak_bytes: number) => ({
      step: Array.from({ length: times }, () => row),
      answers: [],
      peak_bytes,
    });
    const { step, peak_bytes } = modelled({
      ...{ shallow: counts(5, 50), deep: counts(7, 60), more: 30 },
    });
    expect(step.launches).toBe(5 + 30 * 2);
    expect(step.seconds).toBeCloseTo(65 * (1 + H200.launch), 6);
    expect(peak_bytes).toBe(50 + 30 * 10);
  });
});
