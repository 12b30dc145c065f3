// Noise as a pure function of who asks, bit for bit that of the CPU (../../noise/mod.rs).
//
//   draw = Philox4x32-10( counter = [block, position, row, site | sample·2¹⁶], key = stream )
//   u(w) = (⌊w / 2⁹⌋ + ½)·2⁻²³
//   n₀ = √(−2 ln u(w₀))·cos 2πu(w₁)      n₁ = √(−2 ln u(w₀))·sin 2πu(w₁)
//
// Philox: Salmon et al., SC 2011. What must not be fused is written with __fmul_rn and __fadd_rn,
// what must be with __fmaf_rn, so that no compiler option changes a bit.
#pragma once
#include "values.cuh"

__device__ __forceinline__ uint4 philox4x32_10(uint4 counter, uint2 key) {
  for (int round = 0; round < 10; round++) {
    if (round > 0) {
      key.x += 0x9E3779B9u;
      key.y += 0xBB67AE85u;
    }
    uint32_t high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
    uint32_t high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
    counter = make_uint4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
  }
  return counter;
}

__device__ __forceinline__ uint32_t word_of(uint4 words, unsigned i) {
  return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
}

// Signs of one token: bit j mod 32 of word j / 32 is that of feature j, 1 for −1.
__device__ __forceinline__ uint32_t sign_word(uint2 key, uint32_t position, uint32_t row,
                                              uint32_t tag, unsigned word) {
  return word_of(philox4x32_10(make_uint4(word / 4, position, row, tag), key), word % 4);
}
__device__ __forceinline__ float flip(float value, uint32_t word, unsigned feature) {
  return word >> (feature % 32) & 1 ? -value : value;
}

// Of 65,536 halves of words those below t are dropped: the nearest to a probability, of one above 0
// neither none nor all. Element j of a row has half j mod 8 of block j / 8 of the counter.
__device__ __forceinline__ uint32_t dropped_below(float p) {
  uint32_t nearest = uint32_t(__fadd_rn(__fmul_rn(p, 65536.0f), 0.5f));
  return p == 0 ? 0u : nearest < 1u ? 1u : nearest > 65535u ? 65535u : nearest;
}
__device__ __forceinline__ uint32_t half_of(uint4 words, unsigned i) {
  return word_of(words, i / 2) >> 16 * (i % 2) & 0xffffu;
}
// 0, or 1/(1 − t/2¹⁶).
__device__ __forceinline__ float mask_of(uint32_t half, uint32_t below) {
  return half < below ? 0.0f : __fdiv_rn(65536.0f, float(65536u - below));
}

// A uniform of (0, 1), exact.
__device__ __forceinline__ float open_unit(uint32_t word) {
  return __fmul_rn(__fadd_rn(float(word >> 9), 0.5f), 1.0f / 8388608.0f);
}

// ln x for x in (0, 1): x = m·2ᵉ with m in [√½, √2), ln x = e ln 2 + ln m.
__device__ __forceinline__ float ln(float x) {
  uint32_t bits = __float_as_uint(x);
  int exponent = int(bits >> 23) - 126;
  float mantissa = __uint_as_float((bits & 0x007fffffu) | 0x3f000000u);
  if (mantissa < 0.70710678118654752f) {
    exponent -= 1;
    mantissa = __fadd_rn(mantissa, mantissa);
  }
  float t = __fadd_rn(mantissa, -1.0f), z = __fmul_rn(t, t);
  float p = 7.0376836e-2f;
  p = __fmaf_rn(p, t, -1.151461e-1f);
  p = __fmaf_rn(p, t, 1.1676999e-1f);
  p = __fmaf_rn(p, t, -1.2420141e-1f);
  p = __fmaf_rn(p, t, 1.4249323e-1f);
  p = __fmaf_rn(p, t, -1.6668055e-1f);
  p = __fmaf_rn(p, t, 2.0000715e-1f);
  p = __fmaf_rn(p, t, -2.4999994e-1f);
  p = __fmaf_rn(p, t, 3.333333e-1f);
  float e = float(exponent), y = __fmul_rn(__fmul_rn(p, t), z);
  y = __fmaf_rn(e, -2.1219444e-4f, y);  // low part of ln 2
  y = __fmaf_rn(z, -0.5f, y);
  return __fmaf_rn(e, 0.6933594f, __fadd_rn(t, y));  // high part of ln 2
}

// (sin 2πu, cos 2πu) for u in (0, 1): the nearest quarter turn is taken off exactly.
__device__ __forceinline__ float2 sin_cos_of_turns(float u) {
  float quarter = floorf(__fadd_rn(__fmul_rn(4.0f, u), 0.5f));
  float rest = __fadd_rn(__fmul_rn(4.0f, u), -quarter);
  float angle = __fmul_rn(rest, 1.57079632679489662f), z = __fmul_rn(angle, angle);
  float p = __fmaf_rn(__fmaf_rn(-1.9515296e-4f, z, 8.332161e-3f), z, -1.6666655e-1f);
  float sine = __fmaf_rn(__fmul_rn(p, z), angle, angle);
  float q = __fmaf_rn(__fmaf_rn(2.4433157e-5f, z, -1.3887316e-3f), z, 4.1666646e-2f);
  float cosine = __fmaf_rn(__fmul_rn(q, z), z, __fmaf_rn(z, -0.5f, 1.0f));
  switch (int(quarter)) {
    case 0:
    case 4: return make_float2(sine, cosine);
    case 1: return make_float2(cosine, -sine);
    case 2: return make_float2(-sine, -cosine);
    default: return make_float2(-cosine, sine);
  }
}

__device__ __forceinline__ float2 normal_pair(uint32_t w0, uint32_t w1) {
  float radius = __fsqrt_rn(__fmul_rn(-2.0f, ln(open_unit(w0))));
  float2 turn = sin_cos_of_turns(open_unit(w1));
  return make_float2(__fmul_rn(radius, turn.y), __fmul_rn(radius, turn.x));
}

// Element i of a matrix of standard normals: four to a block of the counter.
__device__ __forceinline__ float normal_at(uint2 key, uint32_t tag, size_t i) {
  uint4 words = philox4x32_10(make_uint4(uint32_t(i / 4), 0, 0, tag), key);
  float2 pair = i % 4 < 2 ? normal_pair(words.x, words.y) : normal_pair(words.z, words.w);
  return i % 2 ? pair.y : pair.x;
}
// The four of a block.
__device__ __forceinline__ float4 four_normals(uint4 words) {
  float2 first = normal_pair(words.x, words.y), second = normal_pair(words.z, words.w);
  return make_float4(first.x, first.y, second.x, second.y);
}
__device__ __forceinline__ float one_of(float4 four, unsigned i) {
  return i == 0 ? four.x : i == 1 ? four.y : i == 2 ? four.z : four.w;
}
