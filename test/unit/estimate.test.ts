import { describe, expect, it } from 'vitest';
import { parseSettings } from '../../ts/config/parse.ts';
import { resolveTrain } from '../../ts/config/resolve.ts';
import { whatFits, whichWeightsFit } from '../../ts/estimate/fitting.ts';
import { gpuNamed } from '../../ts/estimate/known-gpus.ts';
import { cpuTraining, cpuWeightBytes, gpuTraining } from '../../ts/estimate/memory.ts';
import { blockWeights, shapeNamed, tableWeights } from '../../ts/estimate/shape.ts';
import { cpuStep, gpuStep } from '../../ts/estimate/time.ts';
import { workOf } from '../../ts/estimate/work.ts';

function configOf(settings: object) {
  const targetModules = ['q_proj', 'v_proj', 'lm_head'];
  const values = { model: 'x', dataset: 'y', targetModules, ...settings };
  return resolveTrain(parseSettings('train', [{ origin: 'option', values }]));
}

function work(name: string, settings: object = {}, tokens = 100) {
  const config = configOf(settings);
  return workOf(config, shapeNamed(name), { tokens, weightBytes: null, threads: 2 });
}

it.each([
  ['smollm2-135m', 0.134_5e9],
  ['llama-3.2-1b', 1.236e9],
  ['llama-2-7b', 6.738e9],
  ['llama-3.1-8b', 8.03e9],
])('knows how many parameters %s has', (name, parameters) => {
  const shape = shapeNamed(name);
  expect((blockWeights(shape) + tableWeights(shape)) / parameters).toBeCloseTo(1, 2);
});

it('names the nearest shape and the known GPUs', () => {
  const refused = (hint: RegExp) =>
    expect.objectContaining({ code: 'BPEFT_USAGE', hint: expect.stringMatching(hint) });
  expect(() => shapeNamed('llama-2-7')).toThrow(
    refused(/^did you mean llama-2-7b\? known: smollm2/),
  );
  expect(() => gpuNamed('t4')).toThrow(refused(/^known: a100, h100/));
});

describe('the work of a step', () => {
  it('counts the values of an adapter by hand', () => {
    const { adapterValues } = work('llama-2-7b', { method: 'mle' });
    const [d, vocabulary, rank] = [4096, 32_000, 8];
    expect(adapterValues).toBe(32 * 2 * rank * (d + d) + rank * (d + vocabulary));
    const gaussian = work('llama-2-7b', { method: 'blob' }).adapterValues;
    expect(gaussian - adapterValues).toBe((32 * 2 + 1) * rank * d);
    const both = work('llama-2-7b', { method: 'ivon' }).adapterValues;
    expect(both).toBe(2 * adapterValues);
    const scales = work('llama-2-7b', { method: 'scalabl' }).adapterValues;
    expect(scales - adapterValues).toBe(2 * rank * (32 * 2 + 1));
    // 8.9 k in each layer, 0.58 M in all, as published.
    const context = work('llama-2-7b', { method: 'c-lora' }).adapterValues;
    expect(context - adapterValues).toBe(8896 * (32 * 2 + 1));
  });

  it('multiplies rows by samples of a step and by members', () => {
    expect(work('llama-2-7b').rows).toBe(400);
    expect(work('llama-2-7b', { method: 'blob', trainSamples: 3 }).rows).toBe(1200);
    const ensemble = work('llama-2-7b', { method: 'ensemble', members: 5 });
    expect([ensemble.rows, ensemble.samples]).toEqual([2000, 5]);
  });
});

describe('memory', () => {
  it('is that of the weights as they are stored', () => {
    const bits = (quantize: string) => {
      const { shape } = work('llama-2-7b');
      const bytes = cpuWeightBytes(work('llama-2-7b', { quantize })) - 2 * tableWeights(shape);
      return (8 * bytes) / blockWeights(shape);
    };
    expect(['none', 'q8_0', 'q4_k', 'int8', 'nf4'].map(bits)).toEqual([16, 8.5, 4.5, 8, 4.5]);
  });

  it('grows with rows, and hardly with them where blocks are computed again', () => {
    const activations = (settings: object) =>
      cpuTraining(work('llama-2-7b', settings)).parts.activations;
    expect(activations({ batchSize: 8 })).toBe(2 * activations({}));
    expect(activations({ checkpointing: 'full' })).toBeLessThan(activations({}) / 5);
    expect(activations({ precision: 'bf16' })).toBeLessThan(activations({}));
  });

  it('of 7 billion parameters on a GPU is that of bf16, and fits an H200 but no 4090 in f32', () => {
    const { parts, total } = gpuTraining(work('llama-2-7b', { precision: 'bf16' }));
    expect(parts.weights).toBeCloseTo(12.95e9 + 0.524e9, -7);
    expect(total.high).toBeLessThan(gpuNamed('h200').memoryBytes);
    expect(gpuTraining(work('llama-2-7b')).total.low).toBeGreaterThan(18e9);
    const nf4 = gpuTraining(work('llama-2-7b', { precision: 'bf16', quantize: 'nf4' }));
    expect(nf4.total.high).toBeLessThan(10e9);
  });
});

describe('memory of a GPU', () => {
  it('holds the tables as they are stored, one where the head is tied, and the positions', () => {
    const weights = (name: string, tokens: number, settings: object = {}) =>
      gpuTraining(work(name, { precision: 'bf16', ...settings }, tokens)).parts.weights;
    const [tied, own] = ['llama-3.2-1b', 'llama-2-7b'];
    expect(weights(tied, 100)).toBe(
      2 * blockWeights(shapeNamed(tied)) + 2 * 128_256 * 2048 + 4 * 64 * 512,
    );
    expect(weights(own, 100)).toBe(
      2 * blockWeights(shapeNamed(own)) + 2 * 2 * 32_000 * 4096 + 4 * 128 * 512,
    );
    expect(weights(own, 2049) - weights(own, 100)).toBe(4 * 128 * (4096 - 512));
  });
});

describe('time', () => {
  it('is 4 P a token for the products of a step, and 6 P where blocks are computed again', () => {
    const flop = (settings: object) => cpuStep(work('llama-2-7b', settings), 1).expected * 0.55;
    const products = 4 * blockWeights(shapeNamed('llama-2-7b')) * 400;
    expect(flop({}) / products).toBeGreaterThan(1);
    expect(flop({}) / products).toBeLessThan(1.05);
    expect(flop({ checkpointing: 'full' }) / flop({})).toBeCloseTo(1.5, 1);
  });

  it('has low below expected below high, and an A100 behind an H100', () => {
    const [h100, a100] = ['h100', 'a100'].map((name) =>
      gpuStep(work('llama-2-7b', { precision: 'bf16' }), gpuNamed(name)),
    );
    expect(h100?.low).toBeLessThan(h100?.expected ?? 0);
    expect(h100?.expected).toBeLessThan(h100?.high ?? 0);
    expect(a100?.expected).toBeGreaterThan(h100?.expected ?? 0);
  });
});

describe('which weights would fit where a model did not', () => {
  const shape = shapeNamed('llama-2-7b');
  const weightBytes = 2 * (blockWeights(shape) + tableWeights(shape));
  const fitting = (gb: number, own: object = {}) =>
    whichWeightsFit({ shape, weightBytes, precision: 'f32', quantize: 'none', ...own }, gb * 1e9);

  it('are those in fewer bytes', () => {
    expect(fitting(24)).toBe(
      'the weights need 26.4 GB by estimate, 24.0 GB are free; --precision bf16 needs 13.5 GB, ' +
        '--quantize nf4 needs 4.3 GB',
    );
    expect(fitting(12, { precision: 'bf16' })).toMatch(/need 13.5 GB.*free; --quantize nf4 needs/);
    expect(fitting(1)).toMatch(/1.0 GB are free, and too few even for NF4$/);
  });
});

describe('what would fit into a memory that was full', () => {
  const room = (gb: number, settings: object = {}) => {
    const shape = shapeNamed('llama-2-7b');
    const weightBytes = 2 * (blockWeights(shape) + tableWeights(shape));
    const config = configOf({ precision: 'bf16', batchSize: 8, ...settings });
    return whatFits(config, { shape, weightBytes, tokens: 1000, bytes: gb * 1e9 });
  };

  it('is a smaller batch, or all of it with less kept', () => {
    expect(room(30)).toBe('by estimate 30.0 GB hold --batch-size 3, or --checkpointing full');
    expect(room(18)).toBe(
      'by estimate 18.0 GB hold --checkpointing full --batch-size 5, ' +
        'or --quantize nf4 --batch-size 3, or --checkpointing full --quantize nf4',
    );
  });

  it('is the base in NF4 where its weights are too large, and nothing where nothing is', () => {
    expect(room(12)).toMatch(
      /hold --quantize nf4 --batch-size \d, or --checkpointing full --quantize/,
    );
    expect(room(2)).toBe('by estimate 2.0 GB hold no batch of this model, not even one row in NF4');
  });

  it('offers nothing that was asked for already', () => {
    expect(room(16, { checkpointing: 'full' })).not.toContain('--checkpointing');
    expect(room(30, { quantize: 'nf4', checkpointing: 'full', batchSize: 64 })).toMatch(
      /hold --batch-size \d+$/,
    );
  });
});
