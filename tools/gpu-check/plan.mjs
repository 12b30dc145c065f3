// What is checked, and for how long at most: on a GPU, and on the emulated driver, where the same
// parts run at shapes that fibers can compute.

/** Seconds of a part; `all` is of everything, so that late parts get what is left. */
const LIMITS = {
  all: 480,
  doctor: 40,
  kernels: 60,
  engine: 60,
  parity: 60,
  sanitizer: 30,
  ours: 150,
  peer: 70,
};

const long = { batch: 8, tokens: 2048 };
const short = { batch: 4, tokens: 100 };

/** Of the tests of devices, those that are about the code and not about a device. */
const READ_SOURCES = 'sources::';

export const PLANS = {
  full: {
    limits: LIMITS,
    tests: { operations: ['ops::'], devices: ['--skip', READ_SOURCES] },
    parity: { shape: '135m', layers: 12, batch: 4, tokens: 100, steps: 4 },
    sanitizer: { programs: ['attention', 'low_rank', 'norm'], tools: ['memcheck', 'racecheck'] },
    shapes: [
      { shape: '7b', batches: [short, long], samples: 10, seconds: 12 },
      { shape: '1b', batches: [short, long], samples: 10, seconds: 8 },
    ],
  },
  small: {
    limits: {
      ...LIMITS,
      all: 3600,
      doctor: 120,
      parity: 600,
      ours: 600,
      kernels: 300,
      engine: 900,
    },
    tests: {
      operations: ['ops::norm', 'nf4_has_the_values_of_bitsandbytes'],
      devices: ['f32_models_agree_on_all_devices'],
      parity: ['maximum_likelihood'],
      cuda: ['a_run_has_the_processors_numbers'],
      cuda_graphs: ['answers_repeat'],
    },
    parity: { shape: 'tiny', layers: 2, batch: 2, tokens: 9, steps: 2 },
    sanitizer: { programs: ['norm'], tools: ['memcheck'] },
    shapes: [{ shape: 'tiny', batches: [{ batch: 2, tokens: 6 }], samples: 2, seconds: 1 }],
  },
};
