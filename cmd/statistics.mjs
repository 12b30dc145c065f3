// What the tables of cmd/ share: means over seeds, intervals of differences that are paired by
// seed, Markdown.

import { studentQuantile } from '../dist/metrics/student.js';

export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The sample's standard deviation. */
function deviation(values) {
  const center = mean(values);
  return Math.sqrt(
    values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1),
  );
}

/** Mean ± standard deviation. */
export function spread(values) {
  const center = mean(values).toFixed(3);
  return values.length < 2 ? center : `${center} ± ${deviation(values).toFixed(3)}`;
}

const signed = (value) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;

/** Mean and 95 % interval. */
export function interval(values) {
  if (values.length < 2) return signed(mean(values));
  const t = studentQuantile(0.975, values.length - 1);
  const half = (t * deviation(values)) / Math.sqrt(values.length);
  return `${signed(mean(values))} (${signed(mean(values) - half)} to ${signed(mean(values) + half)})`;
}

export function printTable(head, rows) {
  for (const row of [head, head.map(() => '---'), ...rows])
    process.stdout.write(`| ${row.join(' | ')} |\n`);
  process.stdout.write('\n');
}
