/** Compared cells as one table for each split: Markdown for people, CSV for programs. */

import { MEASURES, type Measure } from '../metrics/row-measures.ts';
import type { ComparedCell } from './compared-cells.ts';
import { csvCell, markdownTable } from './markdown.ts';
import { isClosedForm, METRIC_HEADINGS, valueText } from './words.ts';

const NOTE = `Mean ± sample standard deviation over the seeds. Floor: the mean ECE of a perfectly calibrated model with the
same confidences on as many rows. ΔNLL: minus the first row of its kind, with the 95 % paired bootstrap interval over
the rows. T: the temperature that the row's answers were scaled by, mean over the seeds, fitted on rows that are held
out; with *, of one seed or more an end of its range, where these rows have no best T. Samples: passes behind one
answer. MB: most memory of a run's process, training and evaluation.`;

export function comparisonMarkdown(cells: readonly ComparedCell[]): string {
  const parts = places(cells).map((here) => {
    const [first] = here;
    const title = `**${first?.dataset} ${first?.split}** (${first?.rows} rows, ${first?.model})`;
    const measures = MEASURES.flatMap((measure) =>
      measure === 'ece' ? [METRIC_HEADINGS.ece, 'floor'] : [METRIC_HEADINGS[measure]],
    );
    const headings = ['method', 'samples', 'T', 'seeds', ...measures, 'ΔNLL', 'ms/row', 'MB'];
    return [
      title,
      '',
      ...markdownTable(
        headings,
        here.map((cell) => row(cell, first?.rows)),
      ),
    ].join('\n');
  });
  return `${[...parts, NOTE].join('\n\n')}\n`;
}

/** @param rows as many as the heading says */
function row(cell: ComparedCell, rows: number | undefined): string[] {
  const {
    method,
    samples,
    link,
    temperature,
    seedsAtEnd,
    seeds,
    metrics,
    eceFloor,
    difference,
    msPerRow: ms,
    peakRssMb: mb,
  } = cell;
  const spread = (measure: Measure) => {
    const { mean, sd } = metrics[measure];
    return sd === null ? valueText(mean) : `${valueText(mean)} ± ${valueText(sd)}`;
  };
  return [
    ...[
      cell.rows === rows ? method : `${method} (${cell.rows} rows)`,
      passesText(samples, link),
      temperatureText(temperature, seedsAtEnd),
    ],
    ...[
      String(seeds),
      ...MEASURES.flatMap((measure) =>
        measure === 'ece' ? [spread('ece'), valueText(eceFloor)] : [spread(measure)],
      ),
      difference === null ? '–' : interval(difference.nll),
    ],
    ...[ms === null ? '–' : ms.toFixed(1), mb === null ? '–' : String(mb)],
  ];
}

function temperatureText(temperature: number | null, seedsAtEnd: number): string {
  return temperature === null ? '–' : `${temperature.toFixed(2)}${seedsAtEnd > 0 ? '*' : ''}`;
}

function passesText(samples: number, link: string | null): string {
  if (samples === 0) return 'point';
  return isClosedForm(link) ? 'closed form' : String(samples);
}

function interval({ value, lower, upper }: NonNullable<ComparedCell['difference']>['nll']): string {
  return `${signed(value)} (${signed(lower)} to ${signed(upper)})`;
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
}

/** Cells of one dataset and split, in their order. */
function places(cells: readonly ComparedCell[]): ComparedCell[][] {
  const all = new Map<string, ComparedCell[]>();
  for (const cell of cells) {
    const key = JSON.stringify([cell.model, cell.dataset, cell.split]);
    all.set(key, [...(all.get(key) ?? []), cell]);
  }
  return [...all.values()];
}

/** One line for each cell and measure. */
export function comparisonCsv(cells: readonly ComparedCell[]): string {
  const head =
    'method,model,dataset,split,rows,samples,temperature,seeds,measure,mean,sd,difference,lower,upper,ms_per_row,peak_rss_mb,ece_floor,link';
  const lines = cells.flatMap((cell) =>
    MEASURES.map((measure) => {
      const { method, model, dataset, split, rows, samples, temperature, seeds } = cell;
      const { mean, sd } = cell.metrics[measure];
      const { value, lower, upper } = cell.difference?.[measure] ?? {};
      return [
        ...[method, model, dataset, split, rows, samples, temperature ?? '', seeds],
        ...[measure, mean ?? '', sd ?? '', value ?? '', lower ?? '', upper ?? ''],
        ...[cell.msPerRow ?? '', cell.peakRssMb ?? '', cell.eceFloor ?? ''],
        cell.link ?? '',
      ];
    }),
  );
  return `${[head, ...lines.map((line) => line.map(csvCell).join(','))].join('\n')}\n`;
}
