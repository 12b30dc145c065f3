import { expect, it } from 'vitest';
import { type Contender, compareDetection, compareSplit } from '../../../ts/report/comparison.ts';
import { detectionLines, differenceLines, splitLines } from '../../../ts/report/comparison-text.ts';
import { reliabilityLines } from '../../../ts/report/reliability-diagram.ts';

const sure = { probs: [0.9, 0.1], label: 0 };
const wrong = { probs: [0.9, 0.1], label: 1 };
const mild = { probs: [0.7, 0.3], label: 0 };
const mildWrong = { probs: [0.7, 0.3], label: 1 };
const even = { probs: [0.5, 0.5], label: null };

const bold: Contender = {
  name: 'bold',
  runs: [{ test: [sure, sure, sure, wrong], ood: [{ probs: [0.95, 0.05], label: null }, even] }],
};
const modest: Contender = {
  name: 'modest',
  runs: [{ test: [mild, mild, mild, mildWrong], ood: [even, even] }],
};

it('gives each method its metrics and the difference to the first, paired by row', () => {
  const { n, methods } = compareSplit('test', [bold, modest], { resamples: 200 });
  const [first, second] = methods;
  expect(n).toBe(4);
  expect(first?.difference).toBeNull();
  expect(first?.metrics.acc.value).toBe(0.75);
  const boldNll = -(3 * Math.log(0.9) + Math.log(0.1)) / 4;
  const modestNll = -(3 * Math.log(0.7) + Math.log(0.3)) / 4;
  expect(second?.difference?.nll.value).toBeCloseTo(modestNll - boldNll, 12);
  expect(second?.difference?.acc).toEqual({ value: 0, lower: 0, upper: 0 });
  expect(second?.metrics.ece.value).toBeCloseTo(0.05, 12);
});

it('takes the mean over the runs of a method, on the same drawn rows', () => {
  const runs = [bold, modest].flatMap((contender) => contender.runs);
  const { n, methods } = compareSplit('test', [bold, { name: 'both', runs }], { resamples: 200 });
  const [first, both] = methods;
  const single = compareSplit('test', [bold, modest], { resamples: 200 }).methods[1];
  expect(n).toBe(4);
  for (const metric of ['acc', 'ece', 'nll', 'brier'] as const) {
    const alone = single?.metrics[metric].value ?? Number.NaN;
    expect(both?.metrics[metric].value).toBeCloseTo(
      ((first?.metrics[metric].value ?? 0) + alone) / 2,
      12,
    );
  }
  // Half of the difference between the two, in every resample.
  for (const bound of ['value', 'lower', 'upper'] as const)
    expect(both?.difference?.nll[bound]).toBeCloseTo((single?.difference?.nll[bound] ?? 0) / 2, 12);
});

it('scores detection by the entropy of the prediction', () => {
  const { methods, inside, outside } = compareDetection({ inside: 'test', outside: 'ood' }, [
    bold,
    modest,
  ]);
  // bold is surer of one foreign row than of its own; modest of none.
  expect(methods.map(({ auroc }) => auroc.value)).toEqual([0.5, 1]);
  expect([inside.n, outside.n]).toEqual([4, 2]);
});

it('prints tables of at most 100 columns', () => {
  const split = compareSplit('test', [bold, modest], { resamples: 50 });
  const detection = compareDetection({ inside: 'test', outside: 'ood' }, [bold, modest], {
    resamples: 50,
  });
  const lines = [...splitLines(split), ...detectionLines(detection), ...differenceLines(split)];
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(100);
  expect(lines[0]).toMatch(/^test \(4 rows\)\s+ACC ↑\s+ECE ↓\s+NLL ↓\s+Brier ↓$/);
  expect(lines[1]).toMatch(/^ {2}bold\s+0\.750 \(0\.\d{3}–1\.000\)/);
  expect(differenceLines(split)[0]).toMatch(/^modest minus bold on test: NLL [−+]0\.\d{3} \(/);
});

it('draws accuracy as a bar, overconfidence as the gap up to the mark', () => {
  const { methods } = compareSplit('test', [bold, modest], { resamples: 10 });
  const columns = methods.map(({ name, reliability }) => ({ name, bins: reliability }));
  expect(reliabilityLines(columns)).toMatchInlineSnapshot(`
    [
      "confidence   bold                                  modest",
      "0.87–0.93    ███████████████████░░░░│  0.75 (4)",
      "0.67–0.73                                          ██████████████████│       0.75 (4)",
      "             █ accuracy, ░ overconfidence, │ mean confidence (rows)",
    ]
  `);
});
