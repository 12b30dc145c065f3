/** A report as Markdown and as CSV. */

import { furtherMeasures, measuresOf } from './further-measures.ts';
import { methodTables } from './method-tables.ts';
import { REPORTED_METRICS, type Report } from './run-report.ts';
import {
  estimateText,
  evaluationName,
  INTERVAL_NOTE,
  METRIC_HEADINGS,
  SEEDS_NOTE,
  valueText,
} from './words.ts';

export function markdownReport({ runs, comparison }: Report): string {
  const rows = runs.flatMap((run) =>
    run.evaluations.map((evaluation) => [
      ...[run.name, run.method, evaluationName(evaluation), String(evaluation.n || '–')],
      ...REPORTED_METRICS.map((metric) => estimateText(evaluation.metrics[metric])),
      valueText(evaluation.aurc),
    ]),
  );
  const headings = [
    'run',
    'method',
    'evaluation',
    'rows',
    ...REPORTED_METRICS.map((m) => METRIC_HEADINGS[m]),
  ];
  const notes = runs.flatMap(({ name, notes: own }) => own.map((note) => `- **${name}**: ${note}`));
  const commands = runs.map(({ name, command }) => `- ${name}: \`${command}\``);
  return `${[
    ...markdownTable([...headings, 'AURC ↓'], rows),
    '',
    INTERVAL_NOTE,
    ...(notes.length === 0 ? [] : ['', ...notes]),
    ...comparisonLines(comparison),
    ...runs.flatMap(({ name, evaluations }) => {
      const table = furtherMeasures(evaluations);
      return table === null
        ? []
        : ['', `**${name}**`, '', ...markdownTable(table.headings, table.rows)];
    }),
    '',
    ...commands,
  ].join('\n')}\n`;
}

function comparisonLines(cells: Report['comparison']): string[] {
  const compared = methodTables(cells);
  if (compared === null) return [];
  const { tables, sources } = compared;
  return [
    ...tables.flatMap(({ title, headings, rows }) => [
      ...['', `**Methods by datasets, ${title}**`, ''],
      ...markdownTable(headings, rows),
    ]),
    ...['', SEEDS_NOTE],
    ...(sources.length === 0 ? [] : ['']),
    ...sources.map((source, index) => `- [${index + 1}] published: ${source}`),
  ];
}

export function markdownTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): string[] {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(headings), line(headings.map(() => '---')), ...rows.map(line)];
}

/** One line for each run, evaluation and metric. */
export function csvReport({ runs }: Report): string {
  const head =
    'run,method,model,protocol,seed,dataset,split,samples,temperature,rows,metric,value,lower,upper';
  const lines = runs.flatMap(({ name, method, model, protocol, seed, evaluations }) =>
    evaluations.flatMap((evaluation) => {
      const { dataset, split, samples, temperature, n, metrics, aurc } = evaluation;
      const place = [dataset, split, samples, temperature ?? '', n];
      const own = [name, method, model, protocol, seed ?? '', ...place];
      return [
        ...REPORTED_METRICS.map((metric) => {
          const { value, lower, upper } = metrics[metric];
          return [...own, metric, value ?? '', lower ?? '', upper ?? ''];
        }),
        ...[['aurc', aurc] as const, ...measuresOf(evaluation)].map(([id, value]) => {
          return [...own, id, value ?? '', '', ''];
        }),
      ];
    }),
  );
  return `${[head, ...lines.map((cells) => cells.map(csvCell).join(','))].join('\n')}\n`;
}

/** RFC 4180 */
export function csvCell(value: string | number): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
