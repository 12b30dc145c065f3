// Shuffles, ballots and __syncwarp. The hidden last argument lets reports name the source line.
#pragma once
#include "execution.h"

constexpr unsigned EMU_ALL_LANES = 0xffffffffu;

EMU_UNCHECKED unsigned emu_lane() { return emu_thread->linear & 31; }

template <class T>
EMU_UNCHECKED T emu_row(const void *rows, unsigned lane) {
  T value;
  memcpy(&value, static_cast<const char *>(rows) + lane * sizeof(T), sizeof(T));
  return value;
}

inline void __syncwarp(unsigned mask = EMU_ALL_LANES, int line = __builtin_LINE()) {
  emu_warp_exchange(mask, nullptr, 0, line);
}
template <class T>
EMU_UNCHECKED T __shfl_sync(unsigned mask, T value, int source, int width = 32,
                            int line = __builtin_LINE()) {
  unsigned base = emu_lane() & ~unsigned(width - 1);
  const void *rows = emu_warp_exchange(mask, &value, sizeof(T), line);
  return emu_row<T>(rows, base + unsigned(source & (width - 1)));
}
template <class T>
EMU_UNCHECKED T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                                int line = __builtin_LINE()) {
  unsigned lane = emu_lane(), other = lane ^ unsigned(bits);
  if (other / unsigned(width) > lane / unsigned(width)) other = lane;
  return emu_row<T>(emu_warp_exchange(mask, &value, sizeof(T), line), other & 31);
}
template <class T>
EMU_UNCHECKED T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                 int line = __builtin_LINE()) {
  unsigned lane = emu_lane();
  bool is_inside = (lane & unsigned(width - 1)) + delta < unsigned(width);
  return emu_row<T>(emu_warp_exchange(mask, &value, sizeof(T), line),
                    is_inside ? lane + delta : lane);
}
template <class T>
EMU_UNCHECKED T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                               int line = __builtin_LINE()) {
  unsigned lane = emu_lane();
  bool is_inside = (lane & unsigned(width - 1)) >= delta;
  return emu_row<T>(emu_warp_exchange(mask, &value, sizeof(T), line),
                    is_inside ? lane - delta : lane);
}
EMU_UNCHECKED unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  int mine = predicate != 0;
  unsigned result = 0, alive = mask & emu_warp_mask();
  const void *rows = emu_warp_exchange(mask, &mine, sizeof mine, line);
  for (unsigned i = 0; i < 32; i++)
    if (alive >> i & 1) result |= unsigned(emu_row<int>(rows, i)) << i;
  return result;
}
EMU_UNCHECKED int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, line) != 0;
}
EMU_UNCHECKED int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, !predicate, line) == 0;
}
