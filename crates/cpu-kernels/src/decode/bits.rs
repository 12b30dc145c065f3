//! Numbers that are packed into the bytes of a block.

use crate::simd::Level;

/// The half-precision number at byte `at`.
#[inline(always)]
pub(super) fn half_at<L: Level>(bytes: &[u8], at: usize) -> f32 {
    L::half(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

/// Nibble `i` of 16 bytes: the low nibbles first, then the high ones.
#[inline(always)]
pub(super) fn nibble(packed: &[u8], i: usize) -> u8 {
    (packed[i % 16] >> (4 * (i / 16))) & 15
}

/// Sixteen bytes at `at`, as one number of as many lanes.
#[inline(always)]
pub(super) fn lanes(bytes: &[u8], at: usize) -> u128 {
    match bytes[at..].first_chunk() {
        Some(lanes) => u128::from_le_bytes(*lanes),
        None => 0,
    }
}

/// A number whose lanes all hold `byte`.
pub(super) const fn all(byte: u8) -> u128 {
    u128::from_le_bytes([byte; 16])
}

/// Scale and minimum of sub-block `j` (of 8) of a 4- or 5-bit block; six bits each.
#[inline(always)]
pub(super) fn six_bit_pair(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (
            (packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4),
            (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4),
        )
    };
    (f32::from(scale), f32::from(min))
}
