// Products of tiles in shared memory. A warp has 16 rows of a product in its registers, as mma.sync
// leaves them (PTX ISA, "Matrix Fragments for mma.m16n8k16"): of the eight columns from 8t on, lane
// l has
//   sum[t][0], sum[t][1]   row l/4,     columns 8t + 2·(l mod 4) and the next
//   sum[t][2], sum[t][3]   row l/4 + 8, the same columns
//
//   by_rows      sum += A·Bᵀ   A (16, k) and B (8·TILES, k) in shared memory
//   by_columns   sum += A·B    A (16, 8·TILES) a sum in registers, B (8·TILES, c) in shared memory
//
// Exact: f32, fused multiply-adds in the order of k. Rounded: operands are bf16, sums f32, on
// tensor cores. k and c are multiples of 16; a tile has zeros where it has no values.
#pragma once
#include "values.cuh"

__device__ __forceinline__ unsigned lane_index() { return threadIdx.x % 32; }
__device__ __forceinline__ unsigned padded(unsigned width) { return (width + 15) / 16 * 16; }

// Two values as bf16, the first in the low half.
__device__ __forceinline__ uint32_t pair_of(float low, float high) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// Hardware, and what the emulator has in its place (tools/cuda-emulator/device/tensor_cores.h).
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                    uint32_t b1) {
#ifdef CUDA_EMU
  uint32_t b[2] = {b0, b1};
  emu_mma_m16n8k16_bf16(d, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
// Four 8×8 matrices: lanes 8i to 8i + 7 name the rows of matrix i, and lane l gets of each row l/4,
// columns 2·(l mod 4) and the next; of its transpose with `TRANSPOSED`.
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(uint32_t (&d)[4], const bf16 *row) {
#ifdef CUDA_EMU
  emu_ldmatrix_x4(d, row, TRANSPOSED);
#else
  unsigned at = unsigned(__cvta_generic_to_shared(row));
  if (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(at)
                 : "memory");
#endif
}

struct Exact {
  using Value = float;
  static constexpr unsigned PAD = 4;  // of a row, so that eight rows lie in different banks
  static __device__ __forceinline__ float rounded(float x) { return x; }
  static __device__ __forceinline__ float exp(float x) { return expf(x); }
  static __device__ __forceinline__ void store(float *to, const float (&v)[4]) {
    *reinterpret_cast<float4 *>(to) = make_float4(v[0], v[1], v[2], v[3]);
  }

  static __device__ __forceinline__ void add(float &sum, float4 x, float4 y) {
    sum = fmaf(x.w, y.w, fmaf(x.z, y.z, fmaf(x.y, y.y, fmaf(x.x, y.x, sum))));
  }
  static __device__ __forceinline__ float4 four(const float *from) {
    return *reinterpret_cast<const float4 *>(from);
  }
  template <unsigned TILES>
  static __device__ __forceinline__ void by_rows(float (&sum)[TILES][4], const float *a,
                                                 const float *b, unsigned stride, unsigned depth) {
    a += lane_index() / 4 * stride;
    b += lane_index() % 4 * 2 * stride;
    for (unsigned k = 0; k < depth; k += 4) {
      float4 x = four(a + k), y = four(a + 8 * stride + k);
#pragma unroll
      for (unsigned t = 0; t < TILES; t++) {
        const float *at = b + 8 * t * stride + k;
        float4 u = four(at), v = four(at + stride);
        add(sum[t][0], x, u);
        add(sum[t][1], x, v);
        add(sum[t][2], y, u);
        add(sum[t][3], y, v);
      }
    }
  }
  template <unsigned TILES, unsigned COLUMNS>
  static __device__ __forceinline__ void by_columns(float (&sum)[COLUMNS / 8][4],
                                                    const float (&a)[TILES][4], const float *b,
                                                    unsigned stride, unsigned columns) {
    b += lane_index() % 4 * 2;
#pragma unroll
    for (unsigned k = 0; k < 8 * TILES; k++) {
      int owner = int(lane_index() / 4 * 4 + k % 8 / 2);
      float x = __shfl_sync(FULL_WARP, a[k / 8][k % 2], owner);
      float y = __shfl_sync(FULL_WARP, a[k / 8][2 + k % 2], owner);
      const float *row = b + k * stride;
#pragma unroll
      for (unsigned t = 0; t < COLUMNS / 8; t++) {
        if (8 * t < columns) {
          float2 v = *reinterpret_cast<const float2 *>(row + 8 * t);
          sum[t][0] = fmaf(x, v.x, sum[t][0]);
          sum[t][1] = fmaf(x, v.y, sum[t][1]);
          sum[t][2] = fmaf(y, v.x, sum[t][2]);
          sum[t][3] = fmaf(y, v.y, sum[t][3]);
        }
      }
    }
  }
};

struct Rounded {
  using Value = bf16;
  static constexpr unsigned PAD = 8;
  static __device__ __forceinline__ float rounded(float x) { return to_float(from_float<bf16>(x)); }
  static __device__ __forceinline__ float exp(float x) { return __expf(x); }
  static __device__ __forceinline__ void store(bf16 *to, const float (&v)[4]) {
    *reinterpret_cast<uint2 *>(to) = make_uint2(pair_of(v[0], v[1]), pair_of(v[2], v[3]));
  }

  template <unsigned TILES>
  static __device__ __forceinline__ void by_rows(float (&sum)[TILES][4], const bf16 *a,
                                                 const bf16 *b, unsigned stride, unsigned depth) {
    unsigned matrix = lane_index() / 8, row = lane_index() % 8;
    a += (row + matrix % 2 * 8) * stride + matrix / 2 * 8;
    b += (row + matrix / 2 * 8) * stride + matrix % 2 * 8;
    for (unsigned k = 0; k < depth; k += 16) {
      uint32_t x[4], y[4];
      load_matrices<false>(x, a + k);
#pragma unroll
      for (unsigned t = 0; t < TILES; t += 2) {
        load_matrices<false>(y, b + 8 * t * stride + k);
        mma(sum[t], x, y[0], y[1]);
        mma(sum[t + 1], x, y[2], y[3]);
      }
    }
  }
  template <unsigned TILES, unsigned COLUMNS>
  static __device__ __forceinline__ void by_columns(float (&sum)[COLUMNS / 8][4],
                                                    const float (&a)[TILES][4], const bf16 *b,
                                                    unsigned stride, unsigned columns) {
    unsigned matrix = lane_index() / 8, row = lane_index() % 8;
    b += (row + matrix % 2 * 8) * stride + matrix / 2 * 8;
#pragma unroll
    for (unsigned k = 0; k < TILES; k += 2) {
      const float(&low)[4] = a[k], (&high)[4] = a[k + 1];
      uint32_t x[4] = {pair_of(low[0], low[1]), pair_of(low[2], low[3]),
                       pair_of(high[0], high[1]), pair_of(high[2], high[3])};
#pragma unroll
      for (unsigned t = 0; t < COLUMNS / 8; t += 2) {
        if (8 * t < columns) {
          uint32_t y[4];
          load_matrices<true>(y, b + 8 * k * stride + 8 * t);
          mma(sum[t], x, y[0], y[1]);
          mma(sum[t + 1], x, y[2], y[3]);
        }
      }
    }
  }
};

// Four values, as one access where rows are multiples of four.
__device__ __forceinline__ void load_four(float (&v)[4], const float *from) {
  float4 all = *reinterpret_cast<const float4 *>(from);
  v[0] = all.x, v[1] = all.y, v[2] = all.z, v[3] = all.w;
}
__device__ __forceinline__ void load_four(float (&v)[4], const bf16 *from) {
  uint2 all = *reinterpret_cast<const uint2 *>(from);
  v[0] = __uint_as_float(all.x << 16), v[1] = __uint_as_float(all.x & 0xffff0000u);
  v[2] = __uint_as_float(all.y << 16), v[3] = __uint_as_float(all.y & 0xffff0000u);
}

// factor·X, X of `rows` rows of `width` columns, `stride` apart, as a tile of ROWS rows.
template <class Way, unsigned ROWS, unsigned COLUMNS, class T>
__device__ __forceinline__ void load_tile(typename Way::Value *tile, const T *from, size_t stride,
                                          unsigned rows, unsigned width, float factor = 1) {
  constexpr unsigned FOURS = COLUMNS / 4;
  unsigned column = threadIdx.x % FOURS * 4;
  if (column >= padded(width)) return;
  for (unsigned row = threadIdx.x / FOURS; row < ROWS; row += blockDim.x / FOURS) {
    float v[4] = {};
    if (row < rows) {
      const T *at = from + row * stride + column;
      if (width % 4 == 0) {
        if (column < width) load_four(v, at);
      } else {
        for (unsigned i = 0; i < 4; i++)
          if (column + i < width) v[i] = to_float(at[i]);
      }
    }
    for (unsigned i = 0; i < 4; i++) v[i] *= factor;
    Way::store(tile + row * (COLUMNS + Way::PAD) + column, v);
  }
}
