// Qualifiers, vector types, indices, shared memory and barriers.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "../driver/emu.h"

#define CUDA_EMU 1
// Without the hooks of the checked mode: what is not the kernel's own code.
#define EMU_UNCHECKED __attribute__((no_sanitize("thread"), always_inline)) inline
// What a tensor core does: a function of its own where arithmetic is counted.
#ifdef EMU_COUNTED
#define EMU_TENSOR_CORE __attribute__((no_sanitize("thread"), noinline)) static
#else
#define EMU_TENSOR_CORE EMU_UNCHECKED
#endif
#define EMU_OPAQUE __attribute__((no_sanitize("thread"), noinline))

#define __global__ __attribute__((noinline, used))  // the build looks for exactly this
#define __CUDA_ARCH__ 800
#define __CUDACC_VER_MAJOR__ 13
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__  // empty: libstdc++ writes __attribute__((__noinline__))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict
// Static shared memory is one section, filled with NaNs before each block. The build turns
// `extern __shared__ T name[];` into a pointer to emu_launch.dynamic_shared.
#define __shared__ static __attribute__((section("emu_shared")))

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
#define EMU_VECTORS(T, N)                                               \
  struct alignas(2 * sizeof(T)) N##2 {                                  \
    T x, y;                                                             \
  };                                                                    \
  struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) N##4 {        \
    T x, y, z, w;                                                       \
  };                                                                    \
  EMU_UNCHECKED N##2 make_##N##2(T x, T y) { return {x, y}; }           \
  EMU_UNCHECKED N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMU_VECTORS(float, float)
EMU_VECTORS(double, double)
EMU_VECTORS(int, int)
EMU_VECTORS(unsigned, uint)

#define threadIdx (emu_thread->thread_idx)
#define blockIdx (emu_launch.block_idx)
#define blockDim (emu_launch.block_dim)
#define gridDim (emu_launch.grid_dim)
constexpr int warpSize = 32;

// Each barrier of the source has a number, so that divergent ones are told apart.
#define __syncthreads() emu_sync_block(__COUNTER__ % 32768 << 16 | __LINE__)
EMU_UNCHECKED void __threadfence() {}
EMU_UNCHECKED void __threadfence_block() {}
EMU_UNCHECKED void __trap() { emu_fail("__trap()"); }
#undef assert
#define assert(condition) \
  ((condition) ? (void)0 : emu_fail("device-side assert: " #condition))
