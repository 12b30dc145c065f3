// The time that an H200 needs at least for what it is asked:
//
//   kernel    max(D/bandwidth, B/L2, A/lanes, F/f32, M/tensor, E/functions) / filled
//   product   max(2mnk/rate, bytes/bandwidth)
//   copy      bytes/bus
//   each      + a launch
//
// D: bytes that the launch touches, each once; B: each once a block; A: accesses of threads; F, M,
// E: arithmetic, that of tensor cores, functions. filled = min(1, threads/(SMs·512)): how far there
// are enough threads to hide latency. What the processor does meanwhile is not in it.

const SMS = 132;
const CLOCK = 1.755e9;

/** Rates a second: measured ones where there are any, else of the data sheet. */
export const H200 = {
  bandwidth: 4.3e12, // measured: a copy in the device's memory
  l2: 5.5e12,
  lanes: SMS * 32 * CLOCK,
  f32: 2 * SMS * 128 * CLOCK,
  functions: SMS * 16 * CLOCK,
  tensor: 0.79e15, // measured: a large product in bf16
  bus: 10e9, // from memory that is not pinned
  launch: 2.5e-6,
  filling: SMS * 512,
};

/** Seconds, and what they are for. */
function timeOfKernel(row) {
  const filled = Math.min(1, (row.blocks * row.threads) / H200.filling);
  const parts = {
    memory: row.distinct_bytes / H200.bandwidth,
    L2: row.block_bytes / H200.l2,
    accesses: (row.reads + row.writes + row.atomics + row.shared) / H200.lanes,
    arithmetic: row.flop / H200.f32,
    'tensor cores': row.tensor_flop / H200.tensor,
    functions: row.functions / H200.functions,
  };
  const [[limit, seconds]] = Object.entries(parts).sort(([, a], [, b]) => b - a);
  return { limit: filled < 0.5 ? `${limit}, few threads` : limit, seconds: seconds / filled };
}

function timeOfProduct({ product: [m, n, k], batch, operand_bytes: bytes }) {
  const flop = 2 * m * n * k * batch;
  const touched = batch * ((m * k + k * n) * bytes + 4 * m * n);
  const arithmetic = flop / (bytes === 2 ? H200.tensor : H200.f32);
  const memory = touched / H200.bandwidth;
  const limit = arithmetic > memory ? 'arithmetic' : 'memory';
  return { limit, seconds: Math.max(arithmetic, memory), flop, distinct_bytes: touched };
}

const BYTES = ['distinct_bytes', 'block_bytes'];
const AMOUNTS = ['launches', 'seconds', 'flop', 'tensor_flop', 'functions', 'accesses', ...BYTES];

/** Rows of one name: kernels, products by their sizes, copies by their direction. */
function byName(lines) {
  const rows = new Map();
  const add = (kernel, limit, amounts) => {
    const row = rows.get(kernel) ?? { kernel, limits: {}, ...zeros() };
    for (const key of AMOUNTS) row[key] += amounts[key] ?? 0;
    row.limits[limit] = (row.limits[limit] ?? 0) + amounts.seconds;
    rows.set(kernel, row);
  };
  for (const line of lines) {
    if (line.kernel !== undefined) {
      const { limit, seconds } = timeOfKernel(line);
      const accesses = line.reads + line.writes + line.atomics + line.shared;
      add(line.kernel, limit, { ...line, accesses, launches: 1, seconds });
    } else if (line.product !== undefined) {
      const [m, n, k] = line.product;
      const { limit, ...amounts } = timeOfProduct(line);
      const name = `product ${m} × ${n} × ${k}${line.operand_bytes === 4 ? ', f32' : ''}`;
      add(name, limit, { ...amounts, launches: 1 });
    } else if (line.copy !== undefined) {
      const isOverBus = line.copy === 'to it' || line.copy === 'to the host';
      const seconds = line.bytes / (isOverBus ? H200.bus : H200.bandwidth / 2);
      const limit = isOverBus ? 'bus' : 'memory';
      add(`copy ${line.copy}`, limit, { launches: 1, seconds, distinct_bytes: line.bytes });
    }
  }
  return rows;
}

function zeros() {
  return Object.fromEntries(AMOUNTS.map((key) => [key, 0]));
}

/** shallow + more·(deep − shallow), row by row; the longest first. */
function extended(shallow, deep, more) {
  const [a, b] = [byName(shallow), byName(deep)];
  const rows = [...new Set([...a.keys(), ...b.keys()])].map((kernel) => {
    const [low, high] = [a.get(kernel) ?? zeros(), b.get(kernel) ?? zeros()];
    const row = { kernel };
    for (const key of AMOUNTS) row[key] = low[key] + more * (high[key] - low[key]);
    row.seconds += row.launches * H200.launch;
    const limits = Object.entries((b.get(kernel) ?? a.get(kernel)).limits);
    row.limit = limits.sort(([, x], [, y]) => y - x)[0][0];
    return row;
  });
  return rows.sort((x, y) => y.seconds - x.seconds);
}

function total(rows) {
  const sum = (key) => rows.reduce((all, row) => all + row[key], 0);
  return { seconds: sum('seconds'), launches: sum('launches') };
}

/** A training step and the answers of N samples, of counts at two depths. */
export function modelled({ shallow, deep, more }) {
  const step = extended(shallow.step, deep.step, more);
  const answers = extended(shallow.answers, deep.answers, more);
  const bytes = deep.peak_bytes - shallow.peak_bytes;
  return {
    peak_bytes: shallow.peak_bytes + more * bytes,
    step: total(step),
    answers: total(answers),
    kernels: step,
    kernels_of_answers: answers,
  };
}
