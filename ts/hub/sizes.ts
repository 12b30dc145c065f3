/**
 * Sizes as people read them, in powers of 1000 as disks and the Hub count: `512 B`, `3.4 kB`, `270
 * MB`.
 */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytesText(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3 + 1e-12));
  const value = bytes / 1000 ** power;
  const digits = power === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[power]}`;
}
