// How a program is run on the emulated driver: with which build, and which variables.

export const RUNS = {
  plain: { build: 'plain', variables: {} },
  shuffled: { build: 'plain', variables: { CUDA_EMU_SEED: '7' } },
  lazy: { build: 'plain', variables: { CUDA_EMU_ASYNC: 'lazy', CUDA_EMU_SEED: '3' } },
  checked: { build: 'checked', variables: { CUDA_EMU_CHECK: '1', CUDA_EMU_SEED: '5' } },
  asan: { build: 'asan', variables: { ASAN_OPTIONS: 'detect_leaks=0' } },
};
