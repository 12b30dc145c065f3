/**
 * xoshiro128** (Blackman & Vigna 2021, arXiv 1805.01407), seeded through SplitMix32: random numbers
 * of statistics. Training never uses it: order and noise are functions of who asks.
 */

/** A function that draws whole numbers from 0 below `bound` (at most 2^32), without bias. */
export function randomBelow(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  const split = () => {
    state = (state + 0x9e37_79b9) >>> 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0_aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a_2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  let [a, b, c, d] = [split(), split(), split(), split()];
  const next = () => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  };
  return (bound) => {
    const limit = 2 ** 32 - (2 ** 32 % bound);
    for (;;) {
      const draw = next();
      if (draw < limit) return draw % bound;
    }
  };
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
