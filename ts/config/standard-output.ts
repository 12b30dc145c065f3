/** `-` in the place of a file to write: standard output, as if the file were not named. */

import { z } from 'zod';

export const STANDARD_OUTPUT = '-';

/** The file that is meant; undefined: standard output. */
export function fileOf(out: string | undefined): string | undefined {
  return out === STANDARD_OUTPUT ? undefined : out;
}

export const FOLDER_RULE =
  'must be a folder, which standard output is not (./- names a folder called so)';

/** A place that holds several files. */
export const folderName = z
  .string()
  .min(1)
  .regex(/^(?!-$)/, FOLDER_RULE);
