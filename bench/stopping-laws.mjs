// Laws of a row's logits, sample by sample, whose mean probabilities are known: what the stopping
// rule of `--samples auto` is held against (bench/stopping.mjs, test/unit/run/prediction).
//
//   binary   logit a + b·T(z), z normal; T(z) = (e^{gz} − 1)/g · e^{hz²/2} (Tukey's g-and-h: g skews,
//            h lengthens the tails; g = h = 0 is the Gaussian)
//   flips    logit ±a + 0.3·z; the sign is − with probability q, decided by a second normal y:
//            y > t, or |y| > t (`even`: then both halves of a mirrored pair flip)
//   classes  K logits: lead, second, 0, …, each + b·z_k
// A law is { family, name, classes, normals, logits(z, out), truth(draw) }; mirrored samples negate
// z. `draw` is a stream of `randomBelow` of ts/metrics/random.ts, of which this file has no copy.

/** Standard normals (Box & Muller 1958). */
export function normals(draw) {
  const uniform = () => (draw(2 ** 32) + 0.5) / 2 ** 32;
  let spare = null;
  return () => {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

export function softmax(logits) {
  const probs = new Float64Array(logits.length);
  const largest = Math.max(...logits);
  let sum = 0;
  for (let k = 0; k < probs.length; k += 1) {
    probs[k] = Math.exp(logits[k] - largest);
    sum += probs[k];
  }
  for (let k = 0; k < probs.length; k += 1) probs[k] /= sum;
  return probs;
}

/** E of softmax over weighted logits. */
function expectation(classes, points) {
  const sum = new Float64Array(classes);
  let weights = 0;
  for (const [weight, logits] of points) {
    weights += weight;
    for (const [k, p] of softmax(logits).entries()) sum[k] += weight * p;
  }
  return sum.map((value) => value / weights);
}

const STEP = 0.01;
const density = (z) => Math.exp(-0.5 * z * z);
function* trapezium(logit) {
  for (let z = -9; z <= 9; z += STEP) yield [density(z), [logit(z), 0]];
}

const tukey = (z, g, h) => (g === 0 ? z : (Math.exp(g * z) - 1) / g) * Math.exp((h * z * z) / 2);

export function binary(family, { a, b, g = 0, h = 0 }) {
  const logit = (z) => a + b * tukey(z, g, h);
  return {
    family,
    name: `${a} ± ${b}${g === 0 ? '' : `, g ${g}`}${h === 0 ? '' : `, h ${h}`}`,
    classes: 2,
    normals: 1,
    logits: (z, out) => {
      out[0] = logit(z[0]);
      out[1] = 0;
    },
    truth: (_draw) => expectation(2, trapezium(logit)),
  };
}

/** P(y > t), by the trapezium rule. */
function tail(t) {
  let sum = 0;
  for (let y = t; y < t + 9; y += 0.001) sum += 0.001 * density(y + 0.0005);
  return sum / Math.sqrt(2 * Math.PI);
}

function threshold(q) {
  let [low, high] = [-5, 5];
  for (let halving = 0; halving < 40; halving += 1) {
    const middle = (low + high) / 2;
    if (tail(middle) > q) low = middle;
    else high = middle;
  }
  return high;
}

export function flips({ a, q, even }) {
  const t = threshold(even ? q / 2 : q);
  const isFlipped = (y) => (even ? Math.abs(y) : y) > t;
  return {
    family: 'flips',
    name: `±${a}, q ${q}${even ? ', even' : ''}`,
    classes: 2,
    normals: 2,
    logits: (z, out) => {
      out[0] = (isFlipped(z[1]) ? -a : a) + 0.3 * z[0];
      out[1] = 0;
    },
    truth: (_draw) => {
      const upper = expectation(
        2,
        trapezium((z) => a + 0.3 * z),
      );
      const lower = expectation(
        2,
        trapezium((z) => -a + 0.3 * z),
      );
      return upper.map((p, k) => (1 - q) * p + q * lower[k]);
    },
  };
}

export function classes({ count, lead, second, b }) {
  const logits = (z, out) => {
    for (let k = 0; k < count; k += 1) out[k] = (k === 0 ? lead : k === 1 ? second : 0) + b * z[k];
  };
  return {
    family: 'classes',
    name: `${count} classes, leads ${lead} and ${second}, ± ${b}`,
    classes: count,
    normals: count,
    logits,
    /** By 2·50,000 mirrored draws: a standard error of at most 0.002. */
    truth: (draw) => {
      const next = normals(draw);
      const [z, out] = [new Float64Array(count), new Float64Array(count)];
      const sum = new Float64Array(count);
      for (let draw = 0; draw < 100_000; draw += 1) {
        for (const k of z.keys()) z[k] = draw % 2 === 0 ? next() : -z[k];
        logits(z, out);
        for (const [k, p] of softmax(out).entries()) sum[k] += p;
      }
      return sum.map((value) => value / 100_000);
    },
  };
}

const product = (...lists) =>
  lists.reduce((rows, list) => rows.flatMap((row) => list.map((item) => [...row, item])), [[]]);

export function firstGrid() {
  return [
    ...product([0, 1, 2, 4, 5, 6], [0.3, 1, 2, 3]).map(([a, b]) => binary('Gaussian', { a, b })),
    ...product([0, 2, 4], [0.3, 1], [-1, 1]).map(([a, b, g]) => binary('skewed', { a, b, g })),
    ...product([0, 2, 4], [0.3, 1]).map(([a, b]) => binary('heavy tails', { a, b, h: 0.3 })),
    ...product([2, 4], [0.01, 0.03, 0.1], [false, true]).map(([a, q, even]) =>
      flips({ a, q, even }),
    ),
    ...product(
      [3, 5, 26],
      [
        [2, 1.7],
        [6, 3],
      ],
      [0.3, 1],
    ).map(([count, [lead, second], b]) => classes({ count, lead, second, b })),
  ];
}

/** Laws of the same families at random places. */
export function drawnGrid(draw, perFamily = 8) {
  const between = (low, high) => Number((low + ((high - low) * draw(10_001)) / 10_000).toFixed(3));
  const times = (make) => Array.from({ length: perFamily }, make);
  return [
    ...times(() => binary('Gaussian', { a: between(0, 6), b: between(0.1, 3) })),
    ...times(() => binary('skewed', { a: between(0, 4), b: between(0.3, 2), g: between(-1, 1) })),
    ...times(() =>
      binary('heavy tails', { a: between(0, 4), b: between(0.3, 2), h: between(0.1, 0.4) }),
    ),
    ...times(() => flips({ a: between(1, 6), q: between(0.005, 0.3), even: draw(2) === 1 })),
    ...times(() =>
      classes({
        count: 3 + draw(24),
        lead: between(0, 6),
        second: between(0, 3),
        b: between(0.3, 2),
      }),
    ),
  ];
}
