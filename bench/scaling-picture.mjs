// A row of plots on logarithmic axes: seconds (solid) and peak memory (dashed) against what was varied; the thin line
// grows in proportion (with threads: falls).

const SIDE = 190;
const LEFT = 52;
const TOP = 40;
const GAP = 74;

const ticks = (low, high) => {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const step of [1, 2, 5]) {
      const tick = step * 10 ** power;
      if (tick >= low * 0.999 && tick <= high * 1.001) found.push(tick);
    }
  }
  return found;
};

function plot(axis, points, left) {
  const xs = points.map(({ value }) => value);
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const x = (value) => left + (SIDE * Math.log(value / low)) / Math.log(high / low);
  const series = [
    { key: 'seconds', color: '#1d4ed8', dash: '', unit: 's', scale: 1 },
    { key: 'peak_rss_mb', color: '#b45309', dash: ' stroke-dasharray="5 3"', unit: 'GiB', scale: 1 / 1024 },
  ];
  const all = points.flatMap((point) => series.map(({ key, scale }) => point[key] * scale));
  const [bottom, top] = [Math.min(...all) / 1.3, Math.max(...all) * 1.3];
  const y = (value) => TOP + SIDE - (SIDE * Math.log(value / bottom)) / Math.log(top / bottom);
  const parts = [
    `<text x="${left + SIDE / 2}" y="${TOP - 14}" text-anchor="middle" font-weight="600">${axis}</text>`,
    `<rect x="${left}" y="${TOP}" width="${SIDE}" height="${SIDE}" fill="none" stroke="#9ca3af"/>`,
  ];
  for (const tick of ticks(bottom, top)) {
    parts.push(`<line x1="${left}" x2="${left + SIDE}" y1="${y(tick)}" y2="${y(tick)}" stroke="#e5e7eb"/>`);
    parts.push(`<text x="${left - 6}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`);
  }
  for (const value of xs) {
    parts.push(`<text x="${x(value)}" y="${TOP + SIDE + 16}" text-anchor="middle">${value}</text>`);
  }
  const [first] = points;
  const power = { threads: -1, rank: 0 }[axis] ?? 1;
  const end = power > 0 ? Math.min(high, (low * top) / first.seconds) : high;
  if (power !== 0) {
    parts.push(
      `<line x1="${x(low)}" y1="${y(first.seconds)}" x2="${x(end)}" y2="${y(first.seconds * (end / low) ** power)}" stroke="#9ca3af" stroke-width="1"/>`,
    );
  }
  for (const { key, color, dash, scale } of series) {
    const path = points.map((point) => `${x(point.value)},${y(point[key] * scale)}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"${dash}/>`);
    for (const point of points) {
      parts.push(`<circle cx="${x(point.value)}" cy="${y(point[key] * scale)}" r="3" fill="${color}"/>`);
    }
  }
  return parts.join('\n');
}

/** SVG of every axis with numbers. */
export function drawScaling(points) {
  const axes = [...new Set(points.filter(({ value }) => typeof value === 'number').map(({ axis }) => axis))];
  const width = LEFT + axes.length * (SIDE + GAP) - 10;
  const height = TOP + SIDE + 62;
  const plots = axes.map((axis, index) =>
    plot(
      axis,
      points.filter((point) => point.axis === axis),
      LEFT + index * (SIDE + GAP),
    ),
  );
  const legend = TOP + SIDE + 46;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#111827">
<rect width="100%" height="100%" fill="#ffffff"/>
${plots.join('\n')}
<text x="${LEFT}" y="${legend}"><tspan fill="#1d4ed8">solid: seconds</tspan>      <tspan fill="#b45309">dashed: peak memory in GiB</tspan>   <tspan fill="#6b7280">   thin: in proportion</tspan></text>
</svg>
`;
}
