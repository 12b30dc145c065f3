import { expect, it } from 'vitest';
import { binaryF1, macroF1 } from '../../../ts/metrics/f1.ts';
import { matthews } from '../../../ts/metrics/matthews.ts';
import { metricsReport } from '../../../ts/metrics/report.ts';

/** Rows of so many classes, a digit each: the label, and the class with most of the probability. */
function rows(classes: number, labels: string, predictions: string) {
  return [...labels].map((label, row) => {
    const rest = 0.4 / (classes - 1);
    const probs = Array.from({ length: classes }, (_, index) =>
      index === Number(predictions[row]) ? 0.6 : rest,
    );
    return { probs, label: Number(label) };
  });
}

// The expected numbers are those of scikit-learn 1.9.1 (matthews_corrcoef, f1_score).
const TWO = rows(
  2,
  '01110001111110110010011110110001101000110110101001',
  '00110011111110100010111110110001101010100110101001',
);
const THREE = rows(
  3,
  '011111201012210210012001120212001112011011222202101220100021',
  '021111001012210010010001100212002112111011222212101020101021',
);
const NEVER_RIGHT = rows(3, '00110', '02220');

it('agrees with scikit-learn on two and on three classes', () => {
  expect(matthews(TWO)).toBeCloseTo(0.7564935064935064, 14);
  expect(binaryF1(TWO)).toBeCloseTo(0.8928571428571429, 14);
  expect(binaryF1(TWO, 0)).toBeCloseTo(0.8636363636363636, 14);
  expect(macroF1(TWO)).toBeCloseTo(0.8782467532467533, 14);
  expect(matthews(THREE)).toBeCloseTo(0.7483240475253726, 14);
  expect(macroF1(THREE)).toBeCloseTo(0.8240509106868554, 14);
});

it('counts a class that is never right in the macro F1, and one that no row has not', () => {
  expect(matthews(NEVER_RIGHT)).toBeCloseTo(1 / 3, 14);
  expect(macroF1(NEVER_RIGHT)).toBeCloseTo(0.8 / 3, 14);
  expect(macroF1(rows(3, '0011', '0011'))).toBe(1);
});

it('is 0 where all rows have one prediction or one label, and −1 where all are wrong both ways', () => {
  expect(matthews(rows(2, '0110', '1111'))).toBe(0);
  expect(matthews(rows(2, '1111', '0110'))).toBe(0);
  expect(matthews(rows(2, '0110', '1001'))).toBe(-1);
  expect(binaryF1(rows(2, '00', '00'))).toBe(0);
});

it('says nothing where it has no meaning: other numbers of classes, no label', () => {
  const mixed = [...rows(2, '01', '01'), ...rows(3, '01', '01')];
  expect([matthews(mixed), macroF1(mixed), binaryF1(mixed), binaryF1(THREE)]).toEqual([
    null,
    null,
    null,
    null,
  ]);
  const unlabelled = [{ probs: [0.5, 0.5], label: null }];
  expect(metricsReport(unlabelled).metrics).toMatchObject({ mcc: null, f1: null, macroF1: null });
  const { metrics, definitions } = metricsReport([...TWO, ...unlabelled]);
  expect(metrics.mcc).toBe(matthews(TWO));
  expect(definitions.f1).toContain('of the second');
  const first = metricsReport(TWO, { positive: 0 });
  expect(first.metrics.f1).toBe(binaryF1(TWO, 0));
  expect(first.metrics.f1).not.toBe(metrics.f1);
  expect(first.definitions.f1).toContain('of the first');
});
