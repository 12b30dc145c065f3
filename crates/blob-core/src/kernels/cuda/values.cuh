// Values of activations, f32 or bf16, computed with in f32; sums over a block in fixed order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cuda_bf16.h>

using bf16 = __nv_bfloat16;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
  return __float2bfloat16(x);
}

constexpr unsigned FULL_WARP = 0xffffffffu;

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int offset = 16; offset > 0; offset >>= 1)
    value += __shfl_xor_sync(FULL_WARP, value, offset);
  return value;
}

// The sum over the block, in every thread; its order depends on the block's size alone.
// `scratch` holds 32 values; the block is whole warps.
template <class T>
__device__ __forceinline__ T block_sum(T value, T *scratch) {
  unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  value = warp_sum(value);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  value = warp_sum(lane < warps ? scratch[lane] : T(0));
  __syncthreads();  // the next sum writes the same scratch
  return value;
}
