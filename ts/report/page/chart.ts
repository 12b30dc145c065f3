/**
 * Charts as SVG, drawn here and not in the reader's browser. Colours are the page's CSS variables,
 * so that one picture serves light, dark and paper.
 */

import { BarChart, LineChart } from 'echarts/charts';
import { GridComponent, MarkLineComponent } from 'echarts/components';
import { type EChartsCoreOption, init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import type { ReliabilityBin } from '../../metrics/ece.ts';
import type { RiskPoint } from '../../metrics/risk-coverage.ts';
import { escaped } from './escape.ts';

use([BarChart, LineChart, GridComponent, MarkLineComponent, SVGRenderer]);

export const SERIES_COLOURS = 6;
const [WIDTH, HEIGHT] = [360, 250];
const FONT = 'system-ui, sans-serif';

/** Of the curve of that number in a picture; the page writes its legend by it. */
export function stroke(index: number): {
  readonly colour: string;
  readonly dash: 'solid' | 'dashed' | 'dotted';
} {
  const dashes = ['solid', 'dashed', 'dotted'] as const;
  return {
    colour: colour(index),
    dash: dashes[Math.floor(index / SERIES_COLOURS) % dashes.length] ?? 'solid',
  };
}

const colour = (index: number) => `var(--series-${(index % SERIES_COLOURS) + 1})`;

export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Accuracy by confidence; the gap to the mean confidence of each bin is red. */
export function reliabilityChart(title: string, bins: readonly ReliabilityBin[]): string {
  // the last bin, of confidence 1, has no width: it joins the one before
  const shown = bins.slice(0, -1);
  const last = bins.at(-1);
  const merged = shown.map((bin, index) =>
    index === shown.length - 1 && last !== undefined ? merge(bin, last) : bin,
  );
  const low = (bin: ReliabilityBin) => Math.min(bin.accuracy ?? 0, bin.confidence ?? 0);
  const gap = (bin: ReliabilityBin) => Math.abs((bin.accuracy ?? 0) - (bin.confidence ?? 0));
  const under = (bin: ReliabilityBin) => (bin.accuracy ?? 0) > (bin.confidence ?? 0);
  const bar = { type: 'bar', stack: 'bin', barCategoryGap: '4%', silent: true } as const;
  return svg(title, {
    xAxis: binAxis(merged, 'confidence'),
    yAxis: axis('accuracy', { min: 0, max: 1 }),
    series: [
      { ...bar, name: 'accuracy', data: merged.map(low), itemStyle: { color: colour(0) } },
      {
        ...bar,
        name: 'gap',
        data: merged.map((bin) => ({
          value: gap(bin),
          itemStyle: {
            color: under(bin) ? 'var(--under)' : 'var(--over)',
            borderColor: 'var(--ink)',
          },
        })),
        itemStyle: { color: 'var(--over)' },
        markLine: {
          ...{ silent: true, symbol: 'none', animation: false },
          lineStyle: { color: 'var(--muted)', type: 'dashed' },
          data: [
            [
              { coord: [0, 0.5 / merged.length] },
              { coord: [merged.length - 1, 1 - 0.5 / merged.length] },
            ],
          ],
        },
      },
    ],
  });
}

export function confidenceHistogram(title: string, bins: readonly ReliabilityBin[]): string {
  const last = bins.at(-1);
  const merged = bins
    .slice(0, -1)
    .map((bin, index, all) =>
      index === all.length - 1 && last !== undefined ? merge(bin, last) : bin,
    );
  return svg(title, {
    xAxis: binAxis(merged, 'confidence'),
    yAxis: axis('rows', { min: 0, minInterval: 1 }),
    series: [
      {
        ...{ type: 'bar', barCategoryGap: '4%', silent: true },
        data: merged.map(({ n }) => n),
        itemStyle: { color: colour(0) },
      },
    ],
  });
}

export function riskCoverageChart(
  title: string,
  curves: readonly { readonly name: string; readonly points: readonly RiskPoint[] }[],
): string {
  return lineChart(title, {
    curves: curves.map(({ name, points }) => ({
      name,
      points: thinned(points).map(({ coverage, risk }) => [coverage, risk] as const),
    })),
    x: axis('coverage', { min: 0, max: 1 }),
    y: axis('risk', { min: 0 }),
  });
}

export function learningChart(title: string, unit: string, curves: readonly Curve[]): string {
  return lineChart(title, {
    curves,
    x: axis('step', { min: 0, minInterval: 1 }),
    y: axis(unit, { scale: true }),
  });
}

/** Values of each layer, the first one leftmost. */
export function layerChart(title: string, unit: string, curves: readonly Curve[]): string {
  return lineChart(title, {
    curves,
    x: axis('layer', { min: 1, minInterval: 1 }),
    y: axis(unit, { min: 0 }),
  });
}

function lineChart(
  title: string,
  { curves, x, y }: { curves: readonly Curve[]; x: object; y: object },
): string {
  return svg(title, {
    xAxis: x,
    yAxis: y,
    series: curves.map(({ name, points }, index) => ({
      ...{ type: 'line', name, data: points, showSymbol: points.length < 2, silent: true },
      lineStyle: { color: colour(index), type: stroke(index).dash, width: 1.8 },
      itemStyle: { color: colour(index) },
    })),
  });
}

/** Means over stretches of equal length, so that a noisy curve can be read. */
export function smoothed(points: Curve['points'], most = 150): Curve['points'] {
  const stretch = Math.ceil(points.length / most);
  return Array.from({ length: Math.ceil(points.length / stretch) }, (_, index) => {
    const part = points.slice(index * stretch, (index + 1) * stretch);
    const mean = (of: 0 | 1) => part.reduce((sum, point) => sum + point[of], 0) / part.length;
    return [mean(0), mean(1)] as const;
  });
}

/** At most some hundred points; the ends stay. */
function thinned<T>(points: readonly T[], most = 200): readonly T[] {
  if (points.length <= most) return points;
  return Array.from({ length: most }, (_, index) => {
    return points[Math.round((index * (points.length - 1)) / (most - 1))] as T;
  });
}

function merge(a: ReliabilityBin, b: ReliabilityBin): ReliabilityBin {
  const n = a.n + b.n;
  const mean = (of: 'accuracy' | 'confidence') =>
    n === 0 ? null : ((a[of] ?? 0) * a.n + (b[of] ?? 0) * b.n) / n;
  return {
    lower: a.lower,
    upper: b.upper,
    n,
    accuracy: mean('accuracy'),
    confidence: mean('confidence'),
  };
}

function binAxis(bins: readonly ReliabilityBin[], name: string): object {
  const labels = bins.map(({ lower, upper }) => ((lower + upper) / 2).toFixed(2));
  return {
    ...axis(name),
    type: 'category',
    data: labels,
    axisTick: { show: false },
    splitLine: { show: false },
  };
}

function axis(name: string, more: object = {}): object {
  return {
    ...{ type: 'value', name, nameLocation: 'middle', nameGap: 28 },
    nameTextStyle: { color: 'var(--muted)', fontFamily: FONT, fontSize: 11 },
    axisLabel: { color: 'var(--muted)', fontFamily: FONT, fontSize: 10, hideOverlap: true },
    axisLine: { lineStyle: { color: 'var(--line)' } },
    splitLine: { lineStyle: { color: 'var(--line)' } },
    ...more,
  };
}

function svg(title: string, option: EChartsCoreOption): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT });
  try {
    chart.setOption({
      animation: false,
      grid: { left: 52, right: 14, top: 12, bottom: 42 },
      ...option,
    });
    const text = chart.renderToSVGString({ useViewBox: true });
    return text.replace('<svg ', `<svg role="img" aria-label="${escaped(title)}" `);
  } finally {
    chart.dispose();
  }
}
