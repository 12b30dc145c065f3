//! Words in registers of NEON: rounding to eight bits, tables of sixteen, transposes.

#![expect(
    unsafe_code,
    reason = "vector instructions are unsafe; every processor of this architecture has them"
)]

use std::arch::aarch64 as arm;
use std::mem::transmute;

use super::level::WIDTH;

/// The nearest integers to `factor·values`, ties to even, eight bits each.
#[inline(always)]
pub(super) fn levels(values: [arm::float32x4_t; 4], factor: f32) -> [u32; WIDTH / 4] {
    // SAFETY: every processor of this architecture has the instructions; both are 16 plain bytes.
    unsafe {
        let [a, b, c, d] = values;
        let integers = |values| arm::vcvtnq_s32_f32(arm::vmulq_n_f32(values, factor));
        let low = arm::vqmovn_high_s32(arm::vqmovn_s32(integers(a)), integers(b));
        let high = arm::vqmovn_high_s32(arm::vqmovn_s32(integers(c)), integers(d));
        transmute(arm::vqmovn_high_s16(arm::vqmovn_s16(low), high))
    }
}

/// [`levels`] of a table's values that are looked up.
#[inline(always)]
pub(super) fn levels_of(
    table: [arm::float32x4_t; 4],
    factor: f32,
    indices: &[u8; 2 * WIDTH],
) -> [u32; WIDTH / 2] {
    // SAFETY: as above; all are plain bytes.
    unsafe {
        let bytes = transmute::<[u32; WIDTH / 4], arm::uint8x16_t>(levels(table, factor));
        let [low, high] = transmute::<[u8; 2 * WIDTH], [arm::uint8x16_t; 2]>(*indices);
        transmute([arm::vqtbl1q_u8(bytes, low), arm::vqtbl1q_u8(bytes, high)])
    }
}

/// The bits of `table[indices_j]`.
///
/// NEON looks bytes up in sixteen of them with one instruction: the table is cut into its words'
/// first, second, third and fourth bytes, and what they give is put together again.
#[inline(always)]
pub(super) fn looked_up(
    table: [arm::float32x4_t; 4],
    indices: &[u8; 2 * WIDTH],
) -> [u32; 2 * WIDTH] {
    // SAFETY: as above; all are plain bytes.
    unsafe {
        let halves: [arm::uint16x8_t; 4] = transmute(table);
        let lower = [
            transmute::<arm::uint16x8_t, arm::uint8x16_t>(arm::vuzp1q_u16(halves[0], halves[1])),
            transmute::<arm::uint16x8_t, arm::uint8x16_t>(arm::vuzp1q_u16(halves[2], halves[3])),
        ];
        let upper = [
            transmute::<arm::uint16x8_t, arm::uint8x16_t>(arm::vuzp2q_u16(halves[0], halves[1])),
            transmute::<arm::uint16x8_t, arm::uint8x16_t>(arm::vuzp2q_u16(halves[2], halves[3])),
        ];
        let bytes = [
            arm::vuzp1q_u8(lower[0], lower[1]),
            arm::vuzp2q_u8(lower[0], lower[1]),
            arm::vuzp1q_u8(upper[0], upper[1]),
            arm::vuzp2q_u8(upper[0], upper[1]),
        ];
        let [low, high] = transmute::<[u8; 2 * WIDTH], [arm::uint8x16_t; 2]>(*indices);
        transmute([joined(bytes, low), joined(bytes, high)])
    }
}

/// Words of which `bytes` hold the first, second, third and fourth bytes, by their indices.
#[inline(always)]
fn joined(bytes: [arm::uint8x16_t; 4], indices: arm::uint8x16_t) -> [arm::uint16x8_t; 4] {
    // SAFETY: as above.
    unsafe {
        let first = arm::vqtbl1q_u8(bytes[0], indices);
        let second = arm::vqtbl1q_u8(bytes[1], indices);
        let third = arm::vqtbl1q_u8(bytes[2], indices);
        let fourth = arm::vqtbl1q_u8(bytes[3], indices);
        let lower = [
            arm::vreinterpretq_u16_u8(arm::vzip1q_u8(first, second)),
            arm::vreinterpretq_u16_u8(arm::vzip2q_u8(first, second)),
        ];
        let upper = [
            arm::vreinterpretq_u16_u8(arm::vzip1q_u8(third, fourth)),
            arm::vreinterpretq_u16_u8(arm::vzip2q_u8(third, fourth)),
        ];
        [
            arm::vzip1q_u16(lower[0], upper[0]),
            arm::vzip2q_u16(lower[0], upper[0]),
            arm::vzip1q_u16(lower[1], upper[1]),
            arm::vzip2q_u16(lower[1], upper[1]),
        ]
    }
}

/// The transpose of a square of words, by squares of four.
#[inline(never)] // once, and not in each kernel: NEON needs no entry point of its own
pub(super) fn transposed(square: &[[u32; WIDTH]; WIDTH]) -> [[u32; WIDTH]; WIDTH] {
    type Registers = [[arm::uint32x4_t; WIDTH / 4]; WIDTH];
    // SAFETY: as above; all are plain bytes.
    unsafe {
        let square = transmute::<[[u32; WIDTH]; WIDTH], Registers>(*square);
        let mut out = [[arm::vdupq_n_u32(0); WIDTH / 4]; WIDTH];
        for (row, rows) in square.as_chunks::<4>().0.iter().enumerate() {
            for (column, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let [a, b, c, d] = rows;
                let four = four_transposed([a[column], b[column], c[column], d[column]]);
                let [a, b, c, d] = out;
                [a[row], b[row], c[row], d[row]] = four;
            }
        }
        transmute::<Registers, [[u32; WIDTH]; WIDTH]>(out)
    }
}

/// In two rounds of exchanges: of words, of pairs.
#[inline(always)]
fn four_transposed(rows: [arm::uint32x4_t; 4]) -> [arm::uint32x4_t; 4] {
    // SAFETY: every processor of this architecture has the instructions; registers are plain bytes.
    unsafe {
        let even = [
            arm::vtrn1q_u32(rows[0], rows[1]),
            arm::vtrn1q_u32(rows[2], rows[3]),
        ];
        let odd = [
            arm::vtrn2q_u32(rows[0], rows[1]),
            arm::vtrn2q_u32(rows[2], rows[3]),
        ];
        let even: [arm::uint64x2_t; 2] = transmute(even);
        let odd: [arm::uint64x2_t; 2] = transmute(odd);
        transmute([
            arm::vtrn1q_u64(even[0], even[1]),
            arm::vtrn1q_u64(odd[0], odd[1]),
            arm::vtrn2q_u64(even[0], even[1]),
            arm::vtrn2q_u64(odd[0], odd[1]),
        ])
    }
}
