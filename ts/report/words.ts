/** Numbers of a report as texts: the same in HTML and Markdown. */

import type { ComparedCell } from './compared-cells.ts';
import type { Estimate, EvaluationReport, ReportedMetric } from './run-report.ts';

export const METRIC_HEADINGS: Readonly<Record<ReportedMetric, string>> = {
  acc: 'ACC ↑',
  ece: 'ECE ↓',
  nll: 'NLL ↓',
  brier: 'Brier ↓',
};

export const INTERVAL_NOTE =
  'In brackets: 95 % bootstrap intervals over the rows. They know nothing of other seeds.';

export const SEEDS_NOTE = 'Mean ± sample standard deviation over the runs of one method.';

export function evaluationName({
  dataset,
  split,
  temperature,
  ...answers
}: Pick<EvaluationReport, 'dataset' | 'split' | 'samples' | 'link' | 'temperature'>): string {
  return `${dataset} ${split}, ${samplesText(answers)}${temperatureText(temperature)}`;
}

/** Nothing for probabilities as they came. */
export function temperatureText(temperature: number | null): string {
  return temperature === null ? '' : `, T ${valueText(temperature)}`;
}

/** What an answer is made of. */
interface Passes {
  readonly samples: number;
  /** How the answers of a curvature are made; null where there is none. */
  readonly link: string | null;
}

/** Without samples it is one pass: at the mean of a posterior, or at the point that was trained. */
export function samplesText({ samples, link }: Passes): string {
  if (samples === 0) return 'point estimate';
  if (isClosedForm(link)) return 'closed form';
  return `${samples} ${samples === 1 ? 'sample' : 'samples'}`;
}

/** Whether nothing is drawn. */
export function isClosedForm(link: string | null): boolean {
  return link !== null && link !== 'sample';
}

export function estimateText({ value, lower, upper }: Estimate): string {
  if (lower === null || upper === null) return valueText(value);
  return `${valueText(value)} (${valueText(lower)}–${valueText(upper)})`;
}

export function valueText(value: number | null): string {
  if (value === null) return '–';
  return Number.isFinite(value) ? value.toFixed(3) : '∞';
}

export function seedsText({ metrics, seeds }: ComparedCell, metric: ReportedMetric): string {
  const { mean, sd } = metrics[metric];
  return sd === null ? valueText(mean) : `${valueText(mean)} ± ${valueText(sd)} (${seeds} seeds)`;
}
