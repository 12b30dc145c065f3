import { describe, expect, it } from 'vitest';
import { binary, classes, flips } from '../../../../bench/stopping-laws.mjs';
import { exceeds, simulate } from '../../../../bench/stopping-simulation.mjs';
import { randomBelow } from '../../../../ts/metrics/random.ts';
import * as rule from '../../../../ts/run/prediction/stopping-rule.ts';

type Law = ReturnType<typeof classes>;

const counts = (law: Law, perUnit: 1 | 2) =>
  simulate(law, rule, {
    rows: 2000,
    perUnit,
    draw: randomBelow(3),
    truth: law.truth(randomBelow(77)),
  });

describe('of 2,000 rows of a law', () => {
  it.each([
    ['plain', binary('Gaussian', { a: 5, b: 2 })],
    ['plain', binary('Gaussian', { a: 2, b: 0.3 })],
    ['antithetic', binary('Gaussian', { a: 1, b: 1 })],
    ['antithetic', classes({ count: 5, lead: 2, second: 1.7, b: 0.3 })],
  ] as const)(
    'hundreds stop, and at most 5 %% of these are off by more than 0.02: %s',
    (sampling, law) => {
      const found = counts(law, sampling === 'plain' ? 1 : 2);
      expect(found.stopped).toBeGreaterThan(400);
      expect(exceeds(found)).toBe(false);
    },
  );

  // Where Student's interval on probabilities stops for hundreds, and up to 91 % of them are off.
  it.each([
    [5, 3],
    [6, 3],
  ])('hardly one stops while its log-odds, %d ± %d, spread over both sides', (a, b) => {
    expect(counts(binary('Gaussian', { a, b }), 2).stopped).toBeLessThanOrEqual(2);
  });

  it('hundreds stop, and nearly all are off, where 3 % of the samples flip: no rule can see it', () => {
    const found = counts(flips({ a: 4, q: 0.03, even: true }), 2);
    expect(found.stopped / found.rows).toBeGreaterThan(0.3);
    expect(found.broken / found.stopped).toBeGreaterThan(0.9);
  });
});

it('tells broken rates from 5 %', () => {
  expect([
    exceeds({ broken: 100, stopped: 2000 }),
    exceeds({ broken: 130, stopped: 2000 }),
  ]).toEqual([false, true]);
  expect([exceeds({ broken: 0, stopped: 0 }), exceeds({ broken: 2, stopped: 2 })]).toEqual([
    false,
    true,
  ]);
});

/** n samples of two classes, whose log-odds alternate between `middle` ± `deviation`. */
const alternating = (middle: number, deviation: number, n: number) =>
  Array.from({ length: n }, (_, i) => {
    const p = 1 / (1 + Math.exp(-(middle + (i % 2 === 0 ? deviation : -deviation))));
    return Float64Array.of(p, 1 - p);
  });

it('stops for samples that agree, and not for those that spread', () => {
  expect(rule.isSteady(alternating(2, 0.01, 16), 1)).toBe(true);
  expect(rule.isSteady(alternating(2, 1, 16), 1)).toBe(false);
});

it('takes what cancels in a pair for no spread', () => {
  // Halves at 0.5 ± 0.12: pairs are all 0.5. Only the decision, here a tie, is within 0.02.
  const halves = alternating(0, 0.5, 32);
  expect([rule.isSteady(halves, 2), rule.isSteady(halves, 1)]).toEqual([true, false]);
});

it('sees by the log-odds what probabilities near 1 hide', () => {
  // The probabilities spread by 0.015, which Student's interval lets pass; the log-odds by 2.5.
  const near = alternating(6, 2.5, 16);
  const probabilities = near.map(([p = 0]) => p);
  expect(Math.min(...probabilities)).toBeGreaterThan(0.97);
  expect(rule.isSteady(near, 1)).toBe(false);
});

it('goes on while a rival may be ahead, and looks at every rival', () => {
  const three = (spread: number) =>
    Array.from({ length: 16 }, (_, i) => {
      const p = 0.25 + (i % 2 === 0 ? spread : -spread);
      return Float64Array.of(0.4, 0.6 - p, p);
    });
  expect(rule.isSteady(three(0.001), 1)).toBe(true);
  expect(rule.isSteady(three(0.2), 1)).toBe(false);
});

it('looks after 16 units at first, and never beyond 256 samples', () => {
  expect([rule.looksFor(1), rule.looksFor(2)]).toEqual([
    [16, 32, 64, 128, 256],
    [16, 32, 64, 128],
  ]);
});
