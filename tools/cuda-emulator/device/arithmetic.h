// Arithmetic intrinsics. As nvcc does, the build lets a·b + c become one fused multiply-add where
// it likes; what is written with __fmul_rn and __fadd_rn is never fused.
#pragma once
#include "execution.h"

using std::abs;
using std::isinf;
using std::isnan;
using std::max;
using std::min;

// A value that the compiler cannot look behind.
EMU_UNCHECKED float emu_rounded(float x) {
  asm volatile("" : "+x"(x));
  return x;
}

EMU_UNCHECKED float __fmul_rn(float a, float b) { return emu_rounded(a * b); }
EMU_UNCHECKED float __fadd_rn(float a, float b) { return emu_rounded(a + b); }
EMU_UNCHECKED float __fsub_rn(float a, float b) { return emu_rounded(a - b); }
EMU_UNCHECKED float __fdiv_rn(float a, float b) { return emu_rounded(a / b); }
EMU_UNCHECKED float __fsqrt_rn(float x) { return emu_rounded(std::sqrt(x)); }
EMU_UNCHECKED float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
EMU_UNCHECKED double emu_rounded(double x) {
  asm volatile("" : "+x"(x));
  return x;
}
EMU_UNCHECKED double __dmul_rn(double a, double b) { return emu_rounded(a * b); }
EMU_UNCHECKED double __dadd_rn(double a, double b) { return emu_rounded(a + b); }
EMU_UNCHECKED double __ddiv_rn(double a, double b) { return emu_rounded(a / b); }
EMU_UNCHECKED double __dsqrt_rn(double x) { return emu_rounded(std::sqrt(x)); }
EMU_UNCHECKED float rsqrtf(float x) { return 1.0f / sqrtf(x); }
EMU_UNCHECKED float __expf(float x) { return expf(x); }
EMU_UNCHECKED float __logf(float x) { return logf(x); }

EMU_UNCHECKED unsigned __umulhi(unsigned a, unsigned b) {
  return unsigned(uint64_t(a) * b >> 32);
}
EMU_UNCHECKED int __popc(unsigned x) { return __builtin_popcount(x); }
EMU_UNCHECKED int __ffs(int x) { return __builtin_ffs(x); }
EMU_UNCHECKED int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }

template <class To, class From>
EMU_UNCHECKED To emu_bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  memcpy(&result, &x, sizeof result);
  return result;
}
EMU_UNCHECKED float __int_as_float(int x) { return emu_bits<float>(x); }
EMU_UNCHECKED float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
EMU_UNCHECKED int __float_as_int(float x) { return emu_bits<int>(x); }
EMU_UNCHECKED unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }

template <class T>
inline T __ldg(const T *p) {
  return *p;
}
