import { expect, it } from 'vitest';
import { flipRatio } from '../../../ts/metrics/flip-ratio.ts';
import type { ScoredRow } from '../../../ts/metrics/scored-row.ts';

const rows = (...all: number[][]): ScoredRow[] => all.map((probs) => ({ probs, label: null }));

it('counts the rows whose most probable class differs, of equals the first', () => {
  const before = rows([0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]);
  const after = rows([0.6, 0.4], [0.6, 0.4], [0.51, 0.49], [0.1, 0.9]);
  expect(flipRatio(before, after)).toBe(0.25);
  expect(flipRatio(after, before)).toBe(0.25);
  expect(flipRatio(before, before)).toBe(0);
});
