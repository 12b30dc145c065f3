// What the driver must count of counting.cu: of all blocks, and of four that stand for all.

const N = 6400;

export const COUNTS = {
  kernel: 'counted',
  blocks: 100,
  threads: 64,
  flop: 2 * N,
  tensor_flop: 0,
  functions: N / 4,
  reads: 3 * N,
  writes: N,
  atomics: 0,
  shared: 2 * N,
  asked_bytes: 4 * 4 * N,
  block_bytes: 100 * (64 + 3 * 4 * 64),
  distinct_bytes: 64 + 3 * 4 * N,
};

/** What differs from it in the lines that the driver wrote, or null. */
export function wrongCounts(text) {
  const lines = text.split('\n').filter((line) => line.includes('"kernel"'));
  if (lines.length !== 1) return `${lines.length} launches`;
  const found = JSON.parse(lines[0]);
  const wrong = Object.entries(COUNTS).filter(([name, value]) => found[name] !== value);
  if (wrong.length === 0) return null;
  return wrong.map(([name, value]) => `${name} ${found[name]}, expected ${value}`).join('; ');
}
