/** What this package says of itself. */

import { readFileSync } from 'node:fs';

interface PackageJson {
  readonly version: string;
  /** Engines by the name of their package. */
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

export function packageJson(): PackageJson {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return JSON.parse(text) as PackageJson;
}
