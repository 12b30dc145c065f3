// picture.mjs [RESULTS] [FILE]: docs/reliability.svg, the reliability on shift of MLE and of BLoB, all seeds of seeds.sh together.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [results = 'cmd/results/demo', target = 'docs/reliability.svg'] = process.argv.slice(2);
const demos = readdirSync(results)
  .filter((name) => /^seed-\d+\.json$/.test(name))
  .map((name) => JSON.parse(readFileSync(join(results, name), 'utf8')));
const SPLIT = 'shift';
const SIDE = 260;
const LEFT = 46;
const TOP = 44;
const GAP = 60;

/** Bins of all seeds together: rows, share right, mean confidence. */
function pooled(method) {
  const tables = demos.map(
    ({ splits }) => splits.find(({ split }) => split === SPLIT).methods[method].reliability,
  );
  return tables[0].map(({ lower, upper }, bin) => {
    const n = tables.reduce((sum, table) => sum + table[bin].n, 0);
    const total = (key) => tables.reduce((sum, table) => sum + table[bin].n * (table[bin][key] ?? 0), 0);
    return { lower, upper, n, accuracy: total('accuracy') / n, confidence: total('confidence') / n };
  });
}

function panel(method, place) {
  const name = demos[0].splits[0].methods[method].name;
  const bins = pooled(method).filter(({ n, upper, lower }) => n > 0 && upper > lower);
  const rows = bins.reduce((sum, { n }) => sum + n, 0);
  const ece = bins.reduce((sum, bin) => sum + (bin.n / rows) * Math.abs(bin.accuracy - bin.confidence), 0);
  const x = (value) => LEFT + place * (SIDE + GAP) + value * SIDE;
  const y = (value) => TOP + (1 - value) * SIDE;
  const box = (bin, from, to, colour) =>
    `<rect x="${x(bin.lower).toFixed(1)}" y="${y(Math.max(from, to)).toFixed(1)}" width="${((bin.upper - bin.lower) * SIDE - 1).toFixed(1)}" height="${(Math.abs(to - from) * SIDE).toFixed(1)}" fill="${colour}"/>`;
  const ticks = [0, 0.5, 1].flatMap((tick) => [
    `<text x="${x(tick)}" y="${TOP + SIDE + 16}" text-anchor="middle">${tick}</text>`,
    `<text x="${x(0) - 8}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`,
  ]);
  return [
    `<text x="${x(0)}" y="${TOP - 14}" font-weight="600">${name}: ECE ${ece.toFixed(3)}</text>`,
    `<rect x="${x(0)}" y="${TOP}" width="${SIDE}" height="${SIDE}" fill="none" stroke="#8a8f98"/>`,
    ...bins.map((bin) => box(bin, 0, bin.accuracy, '#3b6fb6')),
    ...bins.map((bin) => box(bin, bin.accuracy, bin.confidence, '#e39a84')),
    `<line x1="${x(0)}" y1="${y(0)}" x2="${x(1)}" y2="${y(1)}" stroke="#8a8f98" stroke-dasharray="4 4"/>`,
    ...ticks,
    `<text x="${x(0.5)}" y="${TOP + SIDE + 34}" text-anchor="middle">confidence</text>`,
  ].join('\n');
}

const count = demos[0].splits[0].methods.length;
const width = LEFT + 2 * SIDE + GAP + 20;
const height = TOP + SIDE + 62;
const svg = [
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="13" fill="#4a4f57">`,
  `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
  panel(0, 0),
  panel(count - 1, 1),
  `<text x="${LEFT}" y="${height - 8}">blue: share of right answers; red: gap to the mean confidence. ${demos.length} seeds, unseen subjects.</text>`,
  '</svg>',
];
writeFileSync(target, `${svg.join('\n')}\n`);
