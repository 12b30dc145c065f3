/**
 * One field, three spellings: the library writes `klLr`, files write `kl_lr`, the command line
 * `--kl-lr`. All three come from the library's name, so that none can drift.
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

/** A flag, or the rest of a text from a command line on, whose flags are its own. */
const FLAG =
  /\b(?:bpeft|npm|llama-gguf-split|ulimit) [a-z-].*$|(?<![\w-])--([a-z][a-z0-9-]*)(?![\w=-])/gs;

/** Settings that are on or off. */
const SWITCHES: ReadonlySet<string> = new Set([
  'addSpace',
  'cudaGraphs',
  'deterministic',
  'dryRun',
  'freshHead',
  'overwrite',
  'resume',
  'saveSamples',
]);

/**
 * A message that names settings as flags, for a caller of the library: `--kl-lr` → `klLr`,
 * `--resume` → `resume: true`.
 */
export function withoutFlags(text: string): string {
  return text.replace(FLAG, (whole, flag: string | undefined) => {
    if (flag === undefined) return whole;
    const name = camelCase(flag);
    return SWITCHES.has(name) ? `${name}: true` : name;
  });
}

/** Fields whose keys are data and stay as they are: class names, types of tensors, layers. */
const KEYED_BY_DATA: ReadonlySet<string> = new Set([
  'labelTokens',
  'tensorTypes',
  'blockTypes',
  'sigma',
]);

/**
 * What files hold of a value in memory: names of fields in `snake_case`, at every depth; absent
 * values are left out.
 */
export function toSnakeKeys<T extends object>(value: T): Record<string, unknown>;
export function toSnakeKeys(value: unknown): unknown;
export function toSnakeKeys(value: unknown): unknown {
  return renamed(value, snakeCase);
}

/** What memory holds of a file: names of fields in `camelCase`, at every depth. */
export function toCamelKeys<T extends object>(value: T): Record<string, unknown>;
export function toCamelKeys(value: unknown): unknown;
export function toCamelKeys(value: unknown): unknown {
  return renamed(value, camelCase);
}

function renamed(value: unknown, name: (key: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => renamed(item, name));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(
    entries.map(([key, item]) => [
      name(key),
      KEYED_BY_DATA.has(camelCase(key)) ? item : renamed(item, name),
    ]),
  );
}
