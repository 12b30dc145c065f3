// Each fault of defects.cpp, and what the runs that have to notice it say. A fault that a run does
// not see on purpose is listed with what it says instead, so that the table stays true.

const ASAN = /AddressSanitizer/;
const OUTSIDE_READ = /read outside an allocation.*faulty\.cu/;
const DIVERGENT = /divergent __syncthreads\(\)|deadlock/;

export const FAULTS = {
  reverse: { noticed: { plain: /^right/, shuffled: /^right/, checked: /^right/, asan: /^right/ } },
  reads_beyond: { noticed: { checked: OUTSIDE_READ, asan: ASAN } },
  writes_beyond: { noticed: { checked: /write outside an allocation/, asan: ASAN } },
  beyond_static_shared: { noticed: { checked: /race|nobody has written/, asan: ASAN } },
  beyond_dynamic_shared: { noticed: { checked: /outside/, asan: ASAN } },
  misses_barrier: { noticed: { plain: /^wrong/, checked: /race|nobody has written/ } },
  misses_warp_barrier: { noticed: { plain: /^wrong/, checked: /race|nobody has written/ } },
  reuses_in_a_warp: { noticed: { plain: /^right/, checked: /^right/ } },
  reuses_too_early: { noticed: { checked: /race: write of what another thread read/ } },
  reads_unwritten: { noticed: { plain: /^wrong/, checked: /read of memory nobody has written/ } },
  divergent_barrier: { noticed: { plain: DIVERGENT, shuffled: DIVERGENT, checked: DIVERGENT } },
  barrier_missed_by_half: { noticed: { plain: DIVERGENT, shuffled: DIVERGENT } },
  shuffle_missed_by_half: { noticed: { plain: /deadlock/, checked: /deadlock/ } },
  misaligned: { noticed: { checked: /misaligned address.*faulty\.cu/ } },
  misaligned_matrix: { noticed: { plain: /multiple of 16 bytes/, checked: /multiple of 16/ } },
  lost_update: { noticed: { checked: /race/ } },
  depends_on_order: { noticed: { plain: /^right/, shuffled: /^wrong/, checked: /race/ } },

  no_event: { noticed: { plain: /^right/, lazy: /^wrong/ } },
  with_event: { noticed: { plain: /^right/, lazy: /^right/ } },
  missing_edge: { noticed: { plain: /^right/, shuffled: /^wrong/ } },
  unjoined_capture: { noticed: { plain: /^error 904/ } },
  synchronises_in_capture: { noticed: { plain: /^error 900, then error 901/ } },
  host_argument: { noticed: { plain: /error 700/ } },
  freed_argument: { noticed: { plain: /error 700/ } },
  foreign_device: { noticed: { plain: /error 700/ } },
  short_copy: { noticed: { plain: /error 1/ } },
  dereference: { variables: { CUDA_EMU_PROTECT: '1' }, noticed: { plain: /killed by SIGSEGV/ } },

  // What the machine can do to a program.
  no_device: { variables: { CUDA_EMU_DEVICES: '0' }, noticed: { plain: /^error 100/ } },
  old_driver: { variables: { CUDA_EMU_DRIVER: '12020' }, noticed: { plain: /^driver 12020/ } },
  foreign_image: { noticed: { plain: /^error 209/ } },
  out_of_memory: {
    variables: { CUDA_EMU_MEMORY: '2' },
    noticed: { plain: /^error 2, then no error/ },
  },
  lost_device: {
    variables: { CUDA_EMU_LOST_AT: '2' },
    noticed: { plain: /^no error, error 999, then error 999/m },
  },
};
