/** Where what can be made again is kept. */

import { homedir } from 'node:os';
import { join } from 'node:path';

/** `$BPEFT_HOME`, else `bpeft` in `$XDG_CACHE_HOME` or `~/.cache`. */
export function cacheHome(): string {
  const { BPEFT_HOME, XDG_CACHE_HOME } = process.env;
  return BPEFT_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'bpeft');
}
