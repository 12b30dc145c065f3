import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { accuracy } from '../../../ts/metrics/accuracy.ts';
import { brier } from '../../../ts/metrics/brier.ts';
import { ece, reliability } from '../../../ts/metrics/ece.ts';
import { entropy } from '../../../ts/metrics/entropy.ts';
import { nll } from '../../../ts/metrics/nll.ts';
import { posteriorPredictive, softmax } from '../../../ts/metrics/predictive.ts';
import { metricsReport } from '../../../ts/metrics/report.ts';

interface Golden {
  bins: number;
  cases: {
    name: string;
    probs: number[][];
    labels: number[];
    acc: number;
    ece: number;
    nll: number;
    nll_of_batches_of_4: number;
    brier: number;
    entropy: number;
  }[];
  predictive: {
    samples: number;
    classes: number;
    logits: number[];
    probs: number[][];
    entropy: number[];
    mutual_information: number[];
  };
}

// Made by tools/goldens/metrics.py; torchmetrics computes accuracy and ECE in float32.
const golden: Golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../fixtures/metrics.json'), 'utf8'),
);
const FLOAT32 = 1e-6;

const ROWS = [
  { probs: [0.7, 0.2, 0.1], label: 0 },
  { probs: [0.25, 0.75], label: 0 },
  { probs: [0.1, 0.9], label: 1 },
];

it('scores a small set as by hand', () => {
  expect(accuracy(ROWS)).toBeCloseTo(2 / 3, 15);
  expect(nll(ROWS)).toBeCloseTo(-(Math.log(0.7) + Math.log(0.25) + Math.log(0.9)) / 3, 15);
  // 0.09 + 0.04 + 0.01; 2 · 0.75²; 2 · 0.1²
  expect(brier(ROWS)).toBeCloseTo((0.14 + 1.125 + 0.02) / 3, 15);
  // 0.7 and 0.75 share the bin [10/15, 11/15)? 0.75 ≥ 11/15, so three bins of one row each
  expect(ece(ROWS)).toBeCloseTo((0.3 + 0.75 + 0.1) / 3, 15);
});

it('averages confidence and accuracy within a bin before their difference', () => {
  const rows = [
    { probs: [0.9, 0.1], label: 0 },
    { probs: [0.92, 0.08], label: 1 },
  ];
  expect(ece(rows)).toBeCloseTo(Math.abs(0.5 - 0.91), 15);
  expect(reliability(rows).filter(({ n }) => n > 0)).toEqual([
    { lower: 13 / 15, upper: 14 / 15, n: 2, accuracy: 0.5, confidence: expect.closeTo(0.91, 15) },
  ]);
});

it('closes bins on the left and gives confidence 1 a bin of its own', () => {
  const bins = 15;
  for (let edge = 5; edge <= bins; edge += 1) {
    const confidence = edge / bins;
    const table = reliability([{ probs: [confidence, 0, 0, 0], label: 0 }], bins);
    expect(table.findIndex(({ n }) => n === 1)).toBe(edge);
  }
  const below = reliability([{ probs: [0.6 - 1e-12, 0.4], label: 0 }], bins);
  expect(below.findIndex(({ n }) => n === 1)).toBe(8);
  expect(reliability([], bins)).toHaveLength(bins + 1);
});

it('lets the first of equally probable classes win', () => {
  expect(accuracy([{ probs: [0.5, 0.5], label: 0 }])).toBe(1);
  expect(accuracy([{ probs: [0.5, 0.5], label: 1 }])).toBe(0);
});

it('lets the NLL be infinite', () => {
  expect(nll([{ probs: [1, 0], label: 1 }])).toBe(Number.POSITIVE_INFINITY);
});

it('averages over batches as the reference does, where asked', () => {
  const last = -Math.log(0.9);
  const first = -(Math.log(0.7) + Math.log(0.25)) / 2;
  expect(nll(ROWS, { mean: 'batches', batchSize: 2 })).toBeCloseTo((first + last) / 2, 15);
  expect(brier(ROWS, { mean: 'batches', batchSize: 2 })).toBeCloseTo(
    ((0.14 + 1.125) / 2 + 0.02) / 2,
    15,
  );
});

it('measures entropy from 0 to ln K', () => {
  expect(entropy([1, 0, 0])).toBe(0);
  expect(entropy([0.25, 0.25, 0.25, 0.25])).toBeCloseTo(Math.log(4), 15);
  expect(entropy([0.5, 0.25, 0.25])).toBeCloseTo(1.5 * Math.LN2, 15);
});

it.each(golden.cases)('agrees with torchmetrics and torch: $name', (one) => {
  const rows = one.probs.map((probs, index) => ({ probs, label: one.labels[index] ?? -1 }));
  const { metrics } = metricsReport(rows, { bins: golden.bins });
  expect(Math.abs((metrics.acc ?? 0) - one.acc)).toBeLessThan(FLOAT32);
  expect(Math.abs((metrics.ece ?? 0) - one.ece)).toBeLessThan(FLOAT32);
  expect(metrics.nll).toBeCloseTo(one.nll, 12);
  expect(metrics.brier).toBeCloseTo(one.brier, 12);
  expect(Math.abs((metrics.entropy ?? 0) - one.entropy)).toBeLessThan(FLOAT32);
  const batches = metricsReport(rows, { mean: 'batches', batchSize: 4 });
  expect(batches.metrics.nll).toBeCloseTo(one.nll_of_batches_of_4, 12);
});

it('agrees with torch on the predictive of several samples', () => {
  const {
    samples,
    classes,
    logits,
    probs,
    entropy: entropies,
    mutual_information,
  } = golden.predictive;
  const offsets = Uint32Array.from({ length: probs.length + 1 }, (_, index) => index * classes);
  const predictive = posteriorPredictive(Float32Array.from(logits), offsets, samples);
  for (const [index, row] of probs.entries()) {
    for (const [k, p] of row.entries()) expect(predictive.probs[index]?.[k]).toBeCloseTo(p, 12);
    expect(predictive.entropy[index]).toBeCloseTo(entropies[index] ?? -1, 12);
    expect(predictive.mutualInformation?.[index]).toBeCloseTo(mutual_information[index] ?? -1, 12);
  }
});

it('averages probabilities, not logits, over ragged answers', () => {
  // Two samples; a prompt of 2 classes, one of 3.
  const logits = Float32Array.of(0, 4, 1, 1, 1, 4, 0, 1, 1, 1);
  const { probs, mutualInformation } = posteriorPredictive(logits, Uint32Array.of(0, 2, 5), 2);
  expect([...(probs[0] ?? [])]).toEqual([expect.closeTo(0.5, 15), expect.closeTo(0.5, 15)]);
  expect(probs[1]).toHaveLength(3);
  expect(mutualInformation?.[0]).toBeCloseTo(Math.LN2 - entropy(softmax([0, 4])), 12);
  expect(mutualInformation?.[1]).toBeCloseTo(0, 12);
});

it('averages logits where it is told to, and has no mutual information then', () => {
  const logits = Float32Array.of(0, 4, 1, 1, 1, 2, 0, 1, 4, 1);
  const offsets = Uint32Array.of(0, 2, 5);
  const { probs, mutualInformation } = posteriorPredictive(logits, offsets, 2, 'logits');
  expect([...(probs[0] ?? [])]).toEqual([...softmax([1, 2])]);
  expect([...(probs[1] ?? [])]).toEqual([...softmax([1, 2.5, 1])]);
  expect(mutualInformation).toBeNull();
});

it('has no mutual information below two samples', () => {
  const logits = Float32Array.of(0, 1);
  expect(posteriorPredictive(logits, Uint32Array.of(0, 2), 0).mutualInformation).toBeNull();
  expect(posteriorPredictive(logits, Uint32Array.of(0, 2), 1).mutualInformation).toBeNull();
  expect(() => posteriorPredictive(logits, Uint32Array.of(0, 2), 2)).toThrow(
    'logits must hold 2 × 2 values, got 2',
  );
});

it('keeps softmax finite for large logits', () => {
  expect([...softmax([1000, 0])]).toEqual([1, 0]);
});

it('reports null, not zero, where no row has a label', () => {
  const report = metricsReport([{ probs: [0.5, 0.5], label: null, mutualInformation: 0.1 }]);
  expect(report).toMatchObject({
    n: 1,
    nLabelled: 0,
    metrics: { acc: null, ece: null, nll: null, brier: null, mutualInformation: 0.1 },
    reliability: null,
  });
  expect(report.metrics.entropy).toBeCloseTo(Math.LN2, 15);
});

it('scores labelled rows beside unlabelled ones, and defines what it reports', () => {
  const report = metricsReport([...ROWS, { probs: [0.5, 0.5], label: null }], {
    mean: 'batches',
    batchSize: 2,
  });
  expect(report).toMatchObject({
    n: 4,
    nLabelled: 3,
    metrics: { acc: 2 / 3, mutualInformation: null },
  });
  expect(report.definitions.ece).toContain('15 equal bins');
  expect(report.definitions.nll).toContain('unweighted mean of batch means');
  expect(metricsReport(ROWS).definitions.nll).toContain('mean over rows');
});

it('asks for the batch size where it is to average over batches', () => {
  expect(() => metricsReport(ROWS, { mean: 'batches' })).toThrow(
    'a mean of batch means needs the batch size',
  );
});
