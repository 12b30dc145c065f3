import { parse } from 'csv-parse/sync';
import { expect, it } from 'vitest';
import type { ComparedCell } from '../../../ts/report/compared-cells.ts';
import { comparisonCsv, comparisonMarkdown } from '../../../ts/report/comparison-table.ts';

const cell = (link: string | null): ComparedCell => {
  const nll = { mean: 0.7, sd: null };
  return {
    ...{ method: 'laplace', model: 'm', trainedOn: null, dataset: 'd', split: 'test', rows: 4 },
    ...{ samples: 1, link, temperature: null, seedsAtEnd: 0, seeds: 1, eceFloor: null },
    ...{ metrics: { acc: nll, ece: nll, nll, brier: nll }, msPerRow: null, peakRssMb: null },
    difference: null,
    published: [],
  };
};

it('tells answers in closed form from one sample, and one form from another', () => {
  const cells = [cell('probit'), cell('bridge'), cell('sample'), cell(null)];
  const rows = parse(comparisonCsv(cells), { columns: true }) as Record<string, string>[];
  const links = rows.filter(({ measure }) => measure === 'nll').map(({ link }) => link);
  expect(links).toEqual(['probit', 'bridge', 'sample', '']);
});

it('says where a row has other rows than the heading', () => {
  const text = comparisonMarkdown([cell('probit'), { ...cell('bridge'), rows: 2 }]);
  expect(text).toContain('**d test** (4 rows, m)');
  expect(text).toContain('| laplace |');
  expect(text).toContain('| laplace (2 rows) |');
});

it('marks a temperature that is an end of its range in one of the seeds', () => {
  const scaled = { ...cell(null), temperature: 50.7 };
  const text = comparisonMarkdown([scaled, { ...scaled, seedsAtEnd: 1 }]);
  expect(text).toContain('| 50.70 |');
  expect(text).toContain('| 50.70* |');
});
