// A head's values in the lanes of a warp, f32, at most 256 of them.
#pragma once
#include "values.cuh"

constexpr unsigned MOST = 8;  // values of a head in a lane

__device__ __forceinline__ void load_head(const float *p, unsigned width, float (&values)[MOST]) {
  unsigned lane = threadIdx.x % 32;
  for (unsigned i = 0; i < MOST; i++) values[i] = lane + 32 * i < width ? p[lane + 32 * i] : 0.0f;
}
__device__ __forceinline__ void store_head(float *p, unsigned width, const float (&values)[MOST],
                                           float factor) {
  unsigned lane = threadIdx.x % 32;
  for (unsigned i = 0; i < MOST; i++)
    if (lane + 32 * i < width) p[lane + 32 * i] = factor * values[i];
}
__device__ __forceinline__ float dot(const float (&a)[MOST], const float (&b)[MOST]) {
  float sum = 0;
  for (unsigned i = 0; i < MOST; i++) sum += a[i] * b[i];
  return warp_sum(sum);
}
__device__ __forceinline__ void add(float (&sum)[MOST], float factor, const float (&b)[MOST]) {
  for (unsigned i = 0; i < MOST; i++) sum[i] += factor * b[i];
}
__device__ __forceinline__ unsigned warp_index() {
  return (blockIdx.x * blockDim.x + threadIdx.x) / 32;
}
