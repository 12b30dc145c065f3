/** SHA-256 of files, by a thread of its own. */

import { offThread } from './off-thread.ts';

/**
 * One hash per file, in hex.
 * @param tell hears how many bytes of all files are read so far
 */
export function sha256OfFiles(
  paths: readonly string[],
  call: { signal?: AbortSignal | undefined; tell?: (bytes: number) => void } = {},
): Promise<string[]> {
  return offThread('threads/sha256-worker', paths, call);
}
