/** Records as JSON: in files names are in `snake_case`, in memory in `camelCase`. */

import { toCamelKeys, toSnakeKeys } from '../../names.ts';

/**
 * JSON knows no infinity: an infinite NLL (a gold probability of exactly 0) is the text "Infinity".
 */
export function fileJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    toSnakeKeys(value),
    (_, item: unknown) => (isNoJson(item) ? String(item) : item),
    indent,
  );
}

/**
 * The inverse of {@link fileJson}, except that only metrics get their infinities back. @throws
 * {SyntaxError}
 */
export function fromFileJson(text: string): unknown {
  return toCamelKeys(
    JSON.parse(text, (key, item: unknown) =>
      key === 'metrics' ? withNumbers(item) : item,
    ) as unknown,
  );
}

function isNoJson(value: unknown): boolean {
  return typeof value === 'number' && !Number.isFinite(value);
}

function withNumbers(metrics: unknown): unknown {
  if (typeof metrics !== 'object' || metrics === null) return metrics;
  return Object.fromEntries(
    Object.entries(metrics).map(([name, value]) => [
      name,
      typeof value === 'string' ? Number(value) : value,
    ]),
  );
}
