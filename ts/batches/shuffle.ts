/**
 * A shuffle as a pure function of (length, seed, epoch).
 *
 * ```text
 * SplitMix64 (Steele, Lea, Flood 2014): state += φ; output = mix(state), φ = 0x9e3779b97f4a7c15
 *   mix(z): z = (z ^ z>>30)·0xbf58476d1ce4e5b9; z = (z ^ z>>27)·0x94d049bb133111eb; z ^ z>>31     (mod 2^64)
 * start state = mix(seed + φ) + φ·(epoch + 1)
 * Fisher–Yates: for i = n−1 … 1 swap i with j uniform in 0..i
 * j = the high 32 bits of an output modulo i+1; outputs from ⌊2^32 / (i+1)⌋·(i+1) on are drawn again (no bias)
 * ```
 */

const MASK = 0xffff_ffff_ffff_ffffn;
const PHI = 0x9e37_79b9_7f4a_7c15n;
const TWO_TO_32 = 2 ** 32;

/**
 * (n): the order in which an epoch visits the examples. `seed` and `epoch` are whole numbers from
 * 0.
 */
export function permutation(length: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, index) => index);
  let state = (mix((BigInt(seed) + PHI) & MASK) + PHI * BigInt(epoch + 1)) & MASK;
  const below = (bound: number): number => {
    const limit = Math.floor(TWO_TO_32 / bound) * bound;
    for (;;) {
      state = (state + PHI) & MASK;
      const draw = Number(mix(state) >> 32n);
      if (draw < limit) return draw % bound;
    }
  };
  for (let i = length - 1; i > 0; i -= 1) {
    const j = below(i + 1);
    const held = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = held;
  }
  return order;
}

function mix(value: bigint): bigint {
  let z = value;
  z = ((z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn) & MASK;
  return z ^ (z >> 31n);
}
