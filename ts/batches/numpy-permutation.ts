/**
 * `numpy.random.default_rng(seed).permutation(n)`: the order by which the reference picks its
 * anchor rows.
 *
 * ```text
 * SeedSequence (O'Neill 2015, numpy's SeedSequence): a pool of four 32-bit words from the seed, and eight words of it
 * PCG64 (O'Neill 2014): state = state·0x2360ed051fc65da44385df649fccf645 + inc   (mod 2^128)
 *   output = (high ^ low) rotated right by the top six bits of the state; 32-bit draws take its low half first
 * Fisher–Yates: for i = n−1 … 1 swap i with j uniform in 0..i: the low bits that i has, drawn again above i
 * ```
 */

const MASK32 = 0xffff_ffffn;
const MASK64 = 0xffff_ffff_ffff_ffffn;
const MASK128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645n;

/** (n). `seed` is a whole number from 0 to 2^32 − 1. */
export function numpyPermutation(length: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, index) => index);
  const next = drawsOf(seed);
  for (let i = length - 1; i > 0; i -= 1) {
    const j = below(i + 1, next);
    const held = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = held;
  }
  return order;
}

/** Uniform in 0..bound−1, for a bound below 2^32. */
function below(bound: number, next: () => number): number {
  const bits = 32 - Math.clz32(bound - 1);
  for (;;) {
    const draw = bits === 0 ? 0 : next() % 2 ** bits;
    if (draw < bound) return draw;
  }
}

/** 32-bit draws of PCG64. */
function drawsOf(seed: number): () => number {
  const [a, b, c, d] = seedWords(seed);
  const increment = ((((c << 64n) | d) << 1n) | 1n) & MASK128;
  let state = increment;
  const step = () => {
    state = (state * MULTIPLIER + increment) & MASK128;
  };
  state = (state + ((a << 64n) | b)) & MASK128;
  step();
  let held: number | null = null;
  return () => {
    if (held !== null) {
      const high = held;
      held = null;
      return high;
    }
    step();
    const mixed = (state >> 64n) ^ (state & MASK64);
    const turn = state >> 122n;
    const output = ((mixed >> turn) | (mixed << (64n - turn))) & MASK64;
    held = Number(output >> 32n);
    return Number(output & MASK32);
  };
}

/** `SeedSequence(seed).generate_state(4, uint64)`. */
function seedWords(seed: number): [bigint, bigint, bigint, bigint] {
  const times = (a: number, b: number) => Math.imul(a, b) >>> 0;
  let hash = 0x43b0_d7e5;
  const hashed = (value: number): number => {
    let mixed = (value ^ hash) >>> 0;
    hash = times(hash, 0x931e_8875);
    mixed = times(mixed, hash);
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
  const mix = (x: number, y: number): number => {
    const mixed = (times(x, 0xca01_f9dd) - times(y, 0x4973_f715)) >>> 0;
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
  const pool = [seed, 0, 0, 0].map(hashed);
  for (let from = 0; from < 4; from += 1) {
    for (let to = 0; to < 4; to += 1) {
      if (from !== to) pool[to] = mix(pool[to] ?? 0, hashed(pool[from] ?? 0));
    }
  }
  let key = 0x8b51_f9dd;
  const words = Array.from({ length: 8 }, (_, index) => {
    let word = ((pool[index % 4] ?? 0) ^ key) >>> 0;
    key = times(key, 0x58f3_8ded);
    word = times(word, key);
    return BigInt((word ^ (word >>> 16)) >>> 0);
  });
  const pair = (at: number) => ((words[2 * at + 1] ?? 0n) << 32n) | (words[2 * at] ?? 0n);
  return [pair(0), pair(1), pair(2), pair(3)];
}
