/**
 * The calibration card: `README.md` of an adapter's folder, as model hubs show it. What the adapter
 * is, on which rows it was measured, how well its probabilities hold, and what it is for.
 */

import { stringify } from 'yaml';
import type { ReliabilityBin } from '../metrics/ece.ts';
import { markdownTable } from './markdown.ts';
import { type EvaluationReport, REPORTED_METRICS, type RunReport } from './run-report.ts';
import {
  estimateText,
  evaluationName,
  INTERVAL_NOTE,
  METRIC_HEADINGS,
  valueText,
} from './words.ts';

/**
 * First line below the front matter: by it a later card knows that it may take this one's place.
 */
export const CARD_MARK = '<!-- calibration card, written by bpeft report -->';

/**
 * @param others evaluations of the same adapter in folders of their own, such as on shifted data
 */
export function calibrationCard(run: RunReport, others: readonly EvaluationReport[] = []): string {
  const evaluations = [...run.evaluations, ...others];
  const front = {
    library_name: 'peft',
    base_model: run.model,
    tags: ['bpeft', run.method, 'calibration'],
  };
  const [first] = evaluations;
  return `---
${stringify(front)}---
${CARD_MARK}

# ${run.name}

An adapter of \`${run.model}\`, trained by \`${run.method}\` on \`${run.dataset}\` (protocol \`${run.protocol}\`, seed
${run.seed ?? 'unknown'}${run.training === null ? '' : `, ${run.training.steps} updates`}). Plain PEFT loads its mean; \`bpeft\` also its posterior.

## Intended use

Answers to rows like those of \`${run.dataset}\`, with probabilities. They were measured on the rows below, and say
nothing of rows that differ from these; a split of another kind in the table shows how they hold there. The adapter has
not been examined for anything else.

## Metrics

${markdownTable(['evaluation', 'rows', ...REPORTED_METRICS.map((m) => METRIC_HEADINGS[m]), 'AURC ↓'], evaluations.map(row)).join('\n')}

${INTERVAL_NOTE}

${first?.reliability == null ? '' : bins(evaluationName(first), first.reliability)}
## Definitions

${Object.entries(first?.definitions ?? {})
  .map(([name, text]) => `- ${name}: ${text}`)
  .join('\n')}

## How it was made

\`\`\`text
${run.command}
\`\`\`

${Object.entries(run.versions)
  .map(([name, version]) => `${name} ${version}`)
  .join(' · ')}
`;
}

function row(evaluation: EvaluationReport): string[] {
  return [
    ...[evaluationName(evaluation), String(evaluation.n || '–')],
    ...REPORTED_METRICS.map((metric) => estimateText(evaluation.metrics[metric])),
    valueText(evaluation.aurc),
  ];
}

function bins(name: string, table: readonly ReliabilityBin[]): string {
  const rows = table
    .filter(({ n }) => n > 0)
    .map(({ lower, upper, n, accuracy, confidence }) => [
      `${lower.toFixed(2)}–${upper.toFixed(2)}`,
      ...[String(n), valueText(accuracy), valueText(confidence)],
    ]);
  const lines = markdownTable(['confidence', 'rows', 'accuracy', 'mean confidence'], rows);
  return `## Reliability on ${name}\n\n${lines.join('\n')}\n`;
}
