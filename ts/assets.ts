/** Files that ship with the package: the embedded model and its dataset. */

import { fileURLToPath } from 'node:url';

/** The folder lies beside `ts/` in a checkout and beside `dist/` in the package. */
export function assetPath(name: string): string {
  return fileURLToPath(new URL(`../assets/${name}`, import.meta.url));
}
