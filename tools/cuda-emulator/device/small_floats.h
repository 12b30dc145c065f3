// Half and bfloat16: stored as bits, computed in float, rounded to nearest even.
#pragma once
#include "arithmetic.h"

EMU_UNCHECKED uint16_t emu_bf16_bits(float x) {
  if (x != x) return 0x7fff;
  uint32_t u = __float_as_uint(x);
  return uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
EMU_UNCHECKED float emu_bf16_value(uint16_t bits) {
  return __uint_as_float(uint32_t(bits) << 16);
}
EMU_UNCHECKED uint16_t emu_half_bits(float x) { return emu_bits<uint16_t>(_Float16(x)); }
EMU_UNCHECKED float emu_half_value(uint16_t bits) { return float(emu_bits<_Float16>(bits)); }

#define EMU_SMALL_FLOAT(NAME, TO_BITS, TO_FLOAT)                               \
  struct alignas(2) NAME {                                                     \
    uint16_t bits;                                                             \
    NAME() = default;                                                          \
    EMU_UNCHECKED explicit NAME(float x) : bits(TO_BITS(x)) {}                 \
    EMU_UNCHECKED explicit operator float() const { return TO_FLOAT(bits); }   \
  };                                                                           \
  struct alignas(4) NAME##2 {                                                  \
    NAME x, y;                                                                 \
  };
EMU_SMALL_FLOAT(__nv_bfloat16, emu_bf16_bits, emu_bf16_value)
EMU_SMALL_FLOAT(__half, emu_half_bits, emu_half_value)

EMU_UNCHECKED float __bfloat162float(__nv_bfloat16 x) { return float(x); }
EMU_UNCHECKED __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
EMU_UNCHECKED __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
EMU_UNCHECKED __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
EMU_UNCHECKED unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
EMU_UNCHECKED float __half2float(__half x) { return float(x); }
EMU_UNCHECKED __half __float2half(float x) { return __half(x); }
EMU_UNCHECKED __half __ushort_as_half(unsigned short bits) {
  __half x;
  x.bits = bits;
  return x;
}
