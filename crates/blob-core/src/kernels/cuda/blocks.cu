// Blocks of stored numbers to f32 or bf16, with the bits that the CPU decodes.
//
//   Q4_0  Q5_0  Q8_0     32 values    x = d·(q − 8 | 16 | 0)
//   Q4_1  Q5_1           32 values    x = d·q + m
//   Q2_K  Q4_K  Q5_K    256 values    x = (d·s)·q − (dmin·t)     s, t of 16 or 32 values
//   Q3_K  Q6_K          256 values    x = (d·s)·(q − 4 | 32)
//   NF4                  64 values    x = a·c_q                   (arXiv:2305.14314 §3)
//   F32  F16  BF16        1 value     x
//
// out (n, columns) = factor · the stored rows ids[0..n], or all in order where ids is null; a
// thread per value. int8 weights are Q8_0 whose blocks share their row's scale. Nothing is fused.
#include <cuda_fp16.h>

#include "values.cuh"

__device__ __forceinline__ float half_at(const uint8_t *p) {
  return __half2float(__ushort_as_half(uint16_t(p[0] | p[1] << 8)));
}
__device__ __forceinline__ uint32_t word_at(const uint8_t *p) {
  return p[0] | p[1] << 8 | p[2] << 16 | uint32_t(p[3]) << 24;
}
__device__ __forceinline__ float affine(float d, float q, float m) {
  return __fadd_rn(__fmul_rn(d, q), m);
}
// Nibble i of 16 bytes: the low nibbles first, then the high ones.
__device__ __forceinline__ unsigned nibble(const uint8_t *p, unsigned i) {
  return p[i % 16] >> 4 * (i / 16) & 15;
}
__device__ __forceinline__ unsigned fifth_bit(const uint8_t *plane, unsigned i) {
  return (plane[i / 8] >> i % 8 & 1u) << 4;
}

struct Pair {
  float scale, min;
};
// Scale and minimum of sub-block j of 8; six bits each.
__device__ __forceinline__ Pair six_bits(const uint8_t *p, unsigned j) {
  if (j < 4) return {float(p[j] & 63), float(p[j + 4] & 63)};
  return {float((p[j + 4] & 15) | (p[j - 4] >> 6) << 4), float(p[j + 4] >> 4 | (p[j] >> 6) << 4)};
}

struct Q4_0 {
  static constexpr unsigned bytes = 18, values = 32;
  static __device__ float at(const uint8_t *p, unsigned i) {
    return __fmul_rn(half_at(p), float(nibble(p + 2, i)) - 8.0f);
  }
};
struct Q4_1 {
  static constexpr unsigned bytes = 20, values = 32;
  static __device__ float at(const uint8_t *p, unsigned i) {
    return affine(half_at(p), float(nibble(p + 4, i)), half_at(p + 2));
  }
};
struct Q5_0 {
  static constexpr unsigned bytes = 22, values = 32;
  static __device__ float at(const uint8_t *p, unsigned i) {
    return __fmul_rn(half_at(p), float(nibble(p + 6, i) | fifth_bit(p + 2, i)) - 16.0f);
  }
};
struct Q5_1 {
  static constexpr unsigned bytes = 24, values = 32;
  static __device__ float at(const uint8_t *p, unsigned i) {
    return affine(half_at(p), float(nibble(p + 8, i) | fifth_bit(p + 4, i)), half_at(p + 2));
  }
};
struct Q8_0 {
  static constexpr unsigned bytes = 34, values = 32;
  static __device__ float at(const uint8_t *p, unsigned i) {
    return __fmul_rn(half_at(p), float(int8_t(p[2 + i])));
  }
};
struct Q2_K {
  static constexpr unsigned bytes = 84, values = 256;
  static __device__ float at(const uint8_t *p, unsigned i) {
    unsigned q = p[16 + 32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3, sub = p[i / 16];
    float scale = __fmul_rn(half_at(p + 80), float(sub & 15));
    return affine(scale, float(q), -__fmul_rn(half_at(p + 82), float(sub >> 4)));
  }
};
struct Q3_K {
  static constexpr unsigned bytes = 110, values = 256;
  static __device__ float at(const uint8_t *p, unsigned i) {
    unsigned sub = i / 16, low = p[96 + sub % 8] >> 4 * (sub / 8) & 15;
    unsigned top = p[104 + sub % 4] >> 2 * (sub / 4) & 3;
    unsigned q = p[32 + 32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3;
    unsigned bits = q | (p[i % 32] >> i / 32 & 1u) << 2;
    float scale = __fmul_rn(half_at(p + 108), float(low | top << 4) - 32.0f);
    return __fmul_rn(scale, float(bits) - 4.0f);
  }
};
struct Q4_K {
  static constexpr unsigned bytes = 144, values = 256;
  static __device__ float at(const uint8_t *p, unsigned i) {
    unsigned j = i / 32, q = p[16 + 32 * (j / 2) + i % 32] >> 4 * (j % 2) & 15;
    Pair pair = six_bits(p + 4, j);
    return affine(__fmul_rn(half_at(p), pair.scale), float(q),
                  -__fmul_rn(half_at(p + 2), pair.min));
  }
};
struct Q5_K {
  static constexpr unsigned bytes = 176, values = 256;
  static __device__ float at(const uint8_t *p, unsigned i) {
    unsigned j = i / 32, low = p[48 + 32 * (j / 2) + i % 32] >> 4 * (j % 2) & 15;
    unsigned q = low | (p[16 + i % 32] >> j & 1u) << 4;
    Pair pair = six_bits(p + 4, j);
    return affine(__fmul_rn(half_at(p), pair.scale), float(q),
                  -__fmul_rn(half_at(p + 2), pair.min));
  }
};
struct Q6_K {
  static constexpr unsigned bytes = 210, values = 256;
  static __device__ float at(const uint8_t *p, unsigned i) {
    unsigned half = i / 128, quarter = i % 128 / 32, lane = i % 32;
    unsigned low = p[64 * half + 32 * (quarter % 2) + lane] >> 4 * (quarter / 2) & 15;
    unsigned q = low | (p[128 + 32 * half + lane] >> 2 * quarter & 3u) << 4;
    float scale = __fmul_rn(half_at(p + 208), float(int8_t(p[192 + i / 16])));
    return __fmul_rn(scale, float(q) - 32.0f);
  }
};

// Quantiles of a normal variable, scaled to −1…1 (arXiv:2305.14314, appendix E).
__constant__ float NF4_CODES[16] = {
    -1.0f,         -0.6961928f,  -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f,
    -0.091050036f, 0.0f,         0.0795803f,   0.1609302f,  0.2461123f,   0.33791524f,
    0.44070983f,   0.562617f,    0.72295684f,  1.0f};
struct Nf4 {
  static constexpr unsigned bytes = 36, values = 64;
  static __device__ float at(const uint8_t *p, unsigned i) {
    float size = __uint_as_float(word_at(p));
    return __fmul_rn(size, NF4_CODES[nibble(p + 4 + 16 * (i / 32), i % 32)]);
  }
};

struct F32 {
  static constexpr unsigned bytes = 4, values = 1;
  static __device__ float at(const uint8_t *p, unsigned) { return __uint_as_float(word_at(p)); }
};
struct F16 {
  static constexpr unsigned bytes = 2, values = 1;
  static __device__ float at(const uint8_t *p, unsigned) { return half_at(p); }
};
struct Bf16 {
  static constexpr unsigned bytes = 2, values = 1;
  static __device__ float at(const uint8_t *p, unsigned) {
    return __uint_as_float(uint32_t(p[0] | p[1] << 8) << 16);
  }
};

template <class Block, class T>
__device__ __forceinline__ void decode(const uint8_t *stored, const uint32_t *ids, T *out,
                                       unsigned n, unsigned columns, float factor) {
  size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x, row = i / columns;
  if (row >= n) return;
  unsigned column = unsigned(i % columns);
  size_t from = (ids ? ids[row] : row) * (columns / Block::values) + column / Block::values;
  float value = Block::at(stored + from * Block::bytes, column % Block::values);
  out[i] = from_float<T>(__fmul_rn(factor, value));
}

#define ENTRY(Block, name, T, suffix)                                                          \
  extern "C" __global__ void decode_##name##_##suffix(                                         \
      const uint8_t *__restrict__ stored, const uint32_t *__restrict__ ids, T *__restrict__ out, \
      unsigned n, unsigned columns, float factor) {                                            \
    decode<Block>(stored, ids, out, n, columns, factor);                                       \
  }
#define ENTRIES(Block, name)      \
  ENTRY(Block, name, float, f32)  \
  ENTRY(Block, name, bf16, bf16)
ENTRIES(Q4_0, q4_0)
ENTRIES(Q4_1, q4_1)
ENTRIES(Q5_0, q5_0)
ENTRIES(Q5_1, q5_1)
ENTRIES(Q8_0, q8_0)
ENTRIES(Q2_K, q2_k)
ENTRIES(Q3_K, q3_k)
ENTRIES(Q4_K, q4_k)
ENTRIES(Q5_K, q5_k)
ENTRIES(Q6_K, q6_k)
ENTRIES(Nf4, nf4)
ENTRIES(F32, f32)
ENTRIES(F16, f16)
ENTRIES(Bf16, bf16)
