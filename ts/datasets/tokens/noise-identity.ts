/**
 * Whose noise a row sees, as 32 bits: a function of the question, not of where it stands.
 *
 * ```text
 * identity = first 4 bytes of SHA-256( its id, as JSON, or null | the prompt's token ids, 4 bytes each ), little-endian
 * ```
 *
 * So a question gets one answer for a seed, in whatever batch, call, file or split it comes, and
 * two questions on the same line of two files do not share their signs. Two of n different
 * questions share an identity with a probability of about n²/2³³; then they share the signs of one
 * draw, no more.
 */

import { createHash } from 'node:crypto';

export function noiseIdentity(id: string | null, ids: Uint32Array): number {
  const tokens = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
  return createHash('sha256').update(JSON.stringify(id)).update(tokens).digest().readUInt32LE();
}
