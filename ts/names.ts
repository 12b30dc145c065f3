/**
 * One field, three spellings: the library writes `klLr`, files write `kl_lr`, the command line `--kl-lr`.
 * All three come from the library's name, so that none can drift.
 */

/** `klLr` → `kl-lr`. */
export function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `klLr` → `kl_lr`. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `kl_lr` and `kl-lr` → `klLr`. */
export function camelCase(name: string): string {
  return name.replace(/[-_]([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The object with its own keys (one level) in `snake_case`; absent values are left out. */
export function toSnakeKeys(values: object): Record<string, unknown> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([key, value]) => [snakeCase(key), value]));
}

/** The object with its own keys (one level) in `camelCase`. */
export function toCamelKeys(values: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [camelCase(key), value]));
}
