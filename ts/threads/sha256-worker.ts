/** SHA-256 of files, in hex: a worker of {@link offThread}. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { serve } from './off-thread.ts';

/** Bytes between two reports. */
const STEP = 16 * 1024 * 1024;

await serve<readonly string[], string[], number>(async (paths, tell) => {
  const hashes: string[] = [];
  let [done, told] = [0, 0];
  for (const path of paths) {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      hash.update(chunk as Uint8Array);
      done += (chunk as Uint8Array).length;
      if (done - told < STEP) continue;
      told = done;
      tell(done);
    }
    hashes.push(hash.digest('hex'));
  }
  tell(done);
  return hashes;
});
