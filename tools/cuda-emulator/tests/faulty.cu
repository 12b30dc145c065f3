// Kernels with one fault each, to see which mode notices. A block of 64 threads; x and y hold 64.
#define KERNEL(name) extern "C" __global__ void name(const float *x, float *y)

KERNEL(reverse) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}
KERNEL(reads_beyond) { y[threadIdx.x] = x[threadIdx.x + 1]; }
KERNEL(writes_beyond) { y[threadIdx.x + 1] = x[threadIdx.x]; }
KERNEL(beyond_static_shared) {
  __shared__ float s[64];
  __shared__ float other[64];
  other[threadIdx.x] = 1;
  s[threadIdx.x + 1] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x] + other[0];
}
KERNEL(beyond_dynamic_shared) {
  extern __shared__ float s[];
  s[threadIdx.x + 1] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
KERNEL(misses_barrier) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[63 - threadIdx.x];
}
KERNEL(misses_warp_barrier) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[threadIdx.x ^ 1];
}
KERNEL(reuses_in_a_warp) {
  __shared__ float s[2];
  for (int step = 0; step < 2; step++) {
    if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = 63;
    __syncwarp();
    y[threadIdx.x] = s[threadIdx.x / 32] - x[threadIdx.x];
    __syncwarp();
  }
}
KERNEL(reuses_too_early) {
  __shared__ float s[2];
  for (int step = 0; step < 2; step++) {
    if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = 63;
    __syncwarp();
    y[threadIdx.x] = s[threadIdx.x / 32] - x[threadIdx.x];
  }
}
KERNEL(reads_unwritten) {
  __shared__ float s[64];
  y[threadIdx.x] = x[threadIdx.x] + s[threadIdx.x];
}
KERNEL(divergent_barrier) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = s[63 - threadIdx.x];
}
KERNEL(barrier_missed_by_half) {
  if (threadIdx.x < 32) __syncthreads();
  float v = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
  __syncthreads();
  y[threadIdx.x] = v;
}
KERNEL(shuffle_missed_by_half) {
  float v = x[threadIdx.x];
  if (threadIdx.x % 2 == 0) v += __shfl_xor_sync(0xffffffffu, v, 2);
  __syncthreads();
  y[threadIdx.x] = v;
}
KERNEL(misaligned) {
  auto *at = reinterpret_cast<const float2 *>(x + threadIdx.x / 2 + 1);
  y[threadIdx.x] = at->x + at->y;
}
KERNEL(misaligned_matrix) {
  extern __shared__ float s[];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  uint32_t d[4];
  emu_ldmatrix_x4(d, s + 1, false);
  y[threadIdx.x] = float(d[0]);
}
KERNEL(lost_update) { y[0] = y[0] + x[threadIdx.x]; }
KERNEL(depends_on_order) {
  if (x[threadIdx.x] >= 0) y[0] = float(threadIdx.x);  // whoever comes last
}
KERNEL(add_atomically) { atomicAdd(&y[threadIdx.x % 2], x[threadIdx.x]); }
KERNEL(doubles) { y[threadIdx.x] = 2 * x[threadIdx.x]; }
KERNEL(increments) { y[threadIdx.x] = x[threadIdx.x] + 1; }
