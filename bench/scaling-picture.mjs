// A row of plots on logarithmic axes: seconds (solid) and peak memory (dashed) against what was
// varied; the thin line grows in proportion (with threads: falls).

import * as echarts from 'echarts';

const SIDE = 190;
const LEFT = 52;
const TOP = 40;
const GAP = 74;
const INK = '#111827';

const SERIES = [
  { name: 'seconds', of: ({ seconds }) => seconds, color: '#1d4ed8', type: 'solid' },
  {
    name: 'peak memory in GiB',
    of: ({ peak_rss_mb }) => peak_rss_mb / 1024,
    color: '#b45309',
    type: 'dashed',
  },
];
const PROPORTION = { name: 'in proportion', color: '#9ca3af' };

/** With what power of the axis the time would grow in proportion; rank hardly counts. */
const POWERS = { threads: -1, rank: 0 };

function plot(axis, points, index) {
  const at = { xAxisIndex: index, yAxisIndex: index };
  const xs = points.map(({ value }) => value);
  const [first, last] = [points[0], points.at(-1)];
  const all = points.flatMap((point) => SERIES.map(({ of }) => of(point)));
  const [min, max] = [Math.min(...all) / 1.3, Math.max(...all) * 1.3];
  const power = POWERS[axis] ?? 1;
  const end = power > 0 ? Math.min(last.value, (first.value * max) / first.seconds) : last.value;
  const line = { type: 'line', silent: true, symbol: 'none', ...at };
  return {
    title: {
      text: axis,
      left: LEFT + index * (SIDE + GAP) + SIDE / 2,
      top: TOP - 30,
      textAlign: 'center',
      textStyle: { fontSize: 12, color: INK },
    },
    grid: { left: LEFT + index * (SIDE + GAP), top: TOP, width: SIDE, height: SIDE },
    xAxis: {
      ...{ type: 'log', logBase: 2, gridIndex: index, min: first.value, max: last.value },
      axisLabel: { color: INK, customValues: xs },
      axisTick: { customValues: xs },
      splitLine: { show: false },
    },
    yAxis: {
      ...{ type: 'log', logBase: 10, gridIndex: index, min, max },
      axisLabel: { color: INK, customValues: ticks(min, max) },
      axisTick: { customValues: ticks(min, max) },
      axisLine: { show: true, lineStyle: { color: '#9ca3af' } },
      splitLine: { show: false },
    },
    series: [
      ...SERIES.map(({ name, of, color, type }) => ({
        ...{ ...line, name, symbol: 'circle', symbolSize: 6 },
        data: points.map((point) => [point.value, of(point)]),
        lineStyle: { color, type, width: 2 },
        itemStyle: { color },
      })),
      ...(power === 0
        ? []
        : [
            {
              ...{ ...line, name: PROPORTION.name },
              data: [
                [first.value, first.seconds],
                [end, first.seconds * (end / first.value) ** power],
              ],
              lineStyle: { color: PROPORTION.color, width: 1 },
              itemStyle: { color: PROPORTION.color },
            },
          ]),
    ],
  };
}

/** 1, 2 and 5 of each power of ten between the two. */
function ticks(low, high) {
  const powers = Array.from({ length: 12 }, (_, index) => 10 ** (index - 6));
  return powers
    .flatMap((power) => [1, 2, 5].map((step) => Number((step * power).toPrecision(1))))
    .filter((tick) => tick >= low && tick <= high);
}

/** SVG of every axis with numbers. */
export function drawScaling(points) {
  const axes = [
    ...new Set(points.filter(({ value }) => typeof value === 'number').map(({ axis }) => axis)),
  ];
  const plots = axes.map((axis, index) =>
    plot(
      axis,
      points.filter((point) => point.axis === axis),
      index,
    ),
  );
  const size = { width: LEFT + axes.length * (SIDE + GAP) - 10, height: TOP + SIDE + 62 };
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, ...size });
  chart.setOption({
    ...{
      animation: false,
      backgroundColor: '#ffffff',
      textStyle: { fontFamily: 'system-ui, sans-serif' },
    },
    legend: { left: LEFT, bottom: 4, itemGap: 36, textStyle: { color: INK } },
    title: plots.map(({ title }) => title),
    grid: plots.map(({ grid }) => grid),
    xAxis: plots.map(({ xAxis }) => xAxis),
    yAxis: plots.map(({ yAxis }) => yAxis),
    series: plots.flatMap(({ series }) => series),
  });
  const svg = chart.renderToSVGString({ useViewBox: true });
  chart.dispose();
  return `${svg}\n`;
}
