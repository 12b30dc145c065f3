// picture.mjs [RESULTS] [FILE]: docs/reliability.svg, the reliability on shift of MLE and of BLoB,
// all seeds of seeds.sh together.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as echarts from 'echarts';

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
    const total = (key) =>
      tables.reduce((sum, table) => sum + table[bin].n * (table[bin][key] ?? 0), 0);
    return {
      lower,
      upper,
      n,
      accuracy: total('accuracy') / n,
      confidence: total('confidence') / n,
    };
  });
}

function panel(method, place) {
  const name = demos[0].splits[0].methods[method].name;
  const bins = pooled(method).filter(({ upper, lower }) => upper > lower);
  const known = bins.filter(({ n }) => n > 0);
  const rows = known.reduce((sum, { n }) => sum + n, 0);
  const ece = known.reduce(
    (sum, bin) => sum + (bin.n / rows) * Math.abs(bin.accuracy - bin.confidence),
    0,
  );
  const bar = { type: 'bar', stack: `${place}`, barCategoryGap: '2%', silent: true };
  const at = { xAxisIndex: place, yAxisIndex: place };
  const value = (bin, of) => (bin.n > 0 ? of(bin) : null);
  const left = LEFT + place * (SIDE + GAP);
  return {
    title: {
      ...{ text: `${name}: ECE ${ece.toFixed(3)}`, left: left - 5, top: TOP - 32 },
      textStyle: { fontSize: 13, color: '#4a4f57' },
    },
    grid: { left, top: TOP, width: SIDE, height: SIDE, show: true, borderColor: '#8a8f98' },
    xAxis: {
      ...{ type: 'value', gridIndex: place, min: 0, max: 1, interval: 0.5 },
      ...{ name: 'confidence', nameLocation: 'middle', nameGap: 24, splitLine: { show: false } },
    },
    yAxis: {
      type: 'value',
      gridIndex: place,
      min: 0,
      max: 1,
      interval: 0.5,
      splitLine: { show: false },
    },
    series: [
      {
        ...{ ...bar, ...at, name: 'share of right answers', itemStyle: { color: '#3b6fb6' } },
        data: bins.map((bin) => [
          (bin.lower + bin.upper) / 2,
          value(bin, ({ accuracy, confidence }) => Math.min(accuracy, confidence)),
        ]),
      },
      {
        ...{ ...bar, ...at, name: 'gap to the mean confidence', itemStyle: { color: '#e39a84' } },
        data: bins.map((bin) => [
          (bin.lower + bin.upper) / 2,
          value(bin, ({ accuracy, confidence }) => Math.abs(accuracy - confidence)),
        ]),
      },
      {
        ...{ type: 'line', ...at, symbol: 'none', silent: true },
        data: [
          [0, 0],
          [1, 1],
        ],
        lineStyle: { color: '#8a8f98', type: 'dashed', width: 1 },
      },
    ],
  };
}

const count = demos[0].splits[0].methods.length;
const panels = [panel(0, 0), panel(count - 1, 1)];
const size = { width: LEFT + 2 * SIDE + GAP + 20, height: TOP + SIDE + 74 };
const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, ...size });
chart.setOption({
  ...{
    animation: false,
    backgroundColor: '#ffffff',
    textStyle: { fontFamily: 'system-ui, sans-serif' },
  },
  legend: {
    left: LEFT,
    bottom: 2,
    itemGap: 36,
    data: ['share of right answers', 'gap to the mean confidence'],
  },
  title: panels.map(({ title }) => title),
  grid: panels.map(({ grid }) => grid),
  xAxis: panels.map(({ xAxis }) => xAxis),
  yAxis: panels.map(({ yAxis }) => yAxis),
  series: panels.flatMap(({ series }) => series),
});
writeFileSync(target, `${chart.renderToSVGString({ useViewBox: true })}\n`);
chart.dispose();
