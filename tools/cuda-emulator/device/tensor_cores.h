// mma.sync m16n8k16 (row, col; bf16 operands, float sums) and ldmatrix.x4, with the register layout
// of the PTX manual ("Matrix Fragments for mma.m16n8k16", "ldmatrix"). The order of the sum is not
// the hardware's.
#pragma once
#include "small_floats.h"
#include "warp.h"

EMU_TENSOR_CORE void emu_mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2], int line = __builtin_LINE()) {
  struct Row {
    uint16_t a[8], b[4];
  } mine;
  memcpy(mine.a, a, sizeof mine.a);
  memcpy(mine.b, b, sizeof mine.b);
  auto *rows = static_cast<const Row *>(
      emu_warp_exchange(EMU_ALL_LANES, &mine, sizeof mine, line));
  unsigned lane = emu_lane();
  for (unsigned i = 0; i < 4; i++) {
    unsigned row = lane / 4 + (i & 2 ? 8 : 0), column = lane % 4 * 2 + (i & 1);
    float sum = d[i];
    for (unsigned k = 0; k < 16; k++) {
      const Row &ra = rows[row % 8 * 4 + k % 8 / 2], &rb = rows[column * 4 + k % 8 / 2];
      sum += emu_bf16_value(ra.a[k / 8 * 4 + row / 8 * 2 + k % 2]) *
             emu_bf16_value(rb.b[k / 8 * 2 + k % 2]);
    }
    d[i] = sum;
  }
}

// Four 8×8 matrices of 16 bits from shared memory; lane l names row l mod 8 of matrix l/8.
EMU_OPAQUE inline void emu_ldmatrix_x4(uint32_t (&d)[4], const void *row, bool is_transposed,
                                       int line = __builtin_LINE()) {
  if (uintptr_t(row) % 16) emu_fail("a row of ldmatrix is not at a multiple of 16 bytes");
  emu_access(row, 16, EMU_READ, __builtin_return_address(0));
  struct Row {
    uint16_t values[8];
  } mine;
  memcpy(&mine, row, sizeof mine);
  auto *rows = static_cast<const Row *>(
      emu_warp_exchange(EMU_ALL_LANES, &mine, sizeof mine, line));
  unsigned row_of = emu_lane() / 4, column = emu_lane() % 4 * 2;
  for (unsigned i = 0; i < 4; i++) {
    const Row *matrix = rows + 8 * i;
    uint32_t low = is_transposed ? matrix[column].values[row_of] : matrix[row_of].values[column];
    uint32_t high = is_transposed ? matrix[column + 1].values[row_of]
                                  : matrix[row_of].values[column + 1];
    d[i] = low | high << 16;
  }
}
