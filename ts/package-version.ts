/** The version of this package. */

import { packageJson } from './package-json.ts';

export function packageVersion(): string {
  return packageJson().version;
}
