/**
 * A reliability diagram of text (Guo et al., arXiv 1706.04599, figure 1): for each bin of
 * confidence a bar of the accuracy, and a mark at the mean confidence. What lies between bar and
 * mark is overconfidence; a mark inside the bar is underconfidence.
 */

import type { ReliabilityBin } from '../metrics/ece.ts';

export interface DiagramColumn {
  readonly name: string;
  readonly bins: readonly ReliabilityBin[];
}

const WIDTH = 25;

/** Lines from the most confident bin down; bins that no column reaches are left out. */
export function reliabilityLines(columns: readonly DiagramColumn[]): readonly string[] {
  const count = Math.max(0, ...columns.map(({ bins }) => bins.length));
  const head = `${'confidence'.padEnd(13)}${columns.map(({ name }) => name.padEnd(WIDTH + 13)).join('')}`;
  const lines = [head.trimEnd()];
  for (let index = count - 1; index >= 0; index -= 1) {
    const bins = columns.map(({ bins }) => bins[index]);
    const range = bins.find((bin) => bin !== undefined);
    if (range === undefined || bins.every((bin) => bin === undefined || bin.n === 0)) continue;
    const label = `${range.lower.toFixed(2)}–${range.upper.toFixed(2)}`;
    lines.push(`${label.padEnd(13)}${bins.map((bin) => column(bin)).join('')}`.trimEnd());
  }
  lines.push(`${' '.repeat(13)}█ accuracy, ░ overconfidence, │ mean confidence (rows)`);
  return lines;
}

function column(bin: ReliabilityBin | undefined): string {
  if (bin === undefined || bin.accuracy === null || bin.confidence === null)
    return ' '.repeat(WIDTH + 13);
  const accuracy = Math.round(bin.accuracy * WIDTH);
  const mark = Math.min(WIDTH - 1, Math.round(bin.confidence * WIDTH));
  let bar = '';
  for (let place = 0; place < WIDTH; place += 1) {
    if (place === mark) bar += '│';
    else if (place < accuracy) bar += '█';
    else bar += place < mark ? '░' : ' ';
  }
  return `${bar} ${bin.accuracy.toFixed(2)} ${`(${bin.n})`.padEnd(7)}`;
}
