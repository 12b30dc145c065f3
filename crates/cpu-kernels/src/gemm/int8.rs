//! Numbers in eight bits: a scale per row, and levels from −127 to 127.

use crate::simd::{Level, ROUNDER, padded};

/// Most depths of an integer product: so many of its largest terms fit 32 bits.
pub(super) const MAX_INT8_DEPTH: usize = i32::MAX as usize / (255 * 127);

/// Writes values as levels of `scale`, four to a word; the rest of the last word is filled with
/// zeros.
#[inline(always)]
pub(super) fn write_quads<L: Level>(values: &[f32], scale: f32, words: &mut [u32]) {
    let inverse = inverse(scale);
    let (whole, rest) = values.as_chunks();
    let (full, short) = words.split_at_mut(16 * whole.len());
    for (words, values) in full.as_chunks_mut().0.iter_mut().zip(whole) {
        *words = L::int8_quads(values, inverse);
    }
    if !rest.is_empty() {
        let quads = L::int8_quads(&padded(rest, 0.0), inverse);
        let length = short.len().min(16);
        short[..length].copy_from_slice(&quads[..length]);
    }
}

/// Scale of a row in eight bits: its largest absolute value becomes 127. NaN if a value is not
/// finite.
#[inline(always)]
pub(super) fn scale_of(values: &[f32]) -> f32 {
    /// Sizes compare as their bits do; from these on they are infinite or no numbers.
    const INFINITE: u32 = f32::INFINITY.to_bits();
    let size = |value: f32| value.abs().to_bits();
    let mut largest = [0; 32];
    let (chunks, rest) = values.as_chunks::<32>();
    for chunk in chunks {
        for lane in 0..32 {
            largest[lane] = size(chunk[lane]).max(largest[lane]);
        }
    }
    let largest = rest.iter().map(|value| size(*value)).chain(largest).max();
    match largest {
        Some(bits) if bits < INFINITE => f32::from_bits(bits) / 127.0,
        Some(_) => f32::NAN,
        None => 0.0,
    }
}

/// 1/scale, or 0 for a row of zeros and one so small that this would be infinite: its levels are
/// zeros.
#[inline(always)]
pub fn inverse(scale: f32) -> f32 {
    if scale >= f32::MIN_POSITIVE {
        1.0 / scale
    } else {
        0.0
    }
}

/// The nearest of −127…127 to `value·inverse`, ties to even, as an `f32`.
#[inline(always)]
pub(super) fn level(value: f32, inverse: f32) -> f32 {
    (value * inverse + ROUNDER) - ROUNDER
}

/// [`level`] of each lane.
#[inline(always)]
pub(super) fn levels<L: Level>(values: L::Vector, inverse: f32) -> L::Vector {
    let shifted = L::add(L::scale(inverse, values), L::splat(ROUNDER));
    L::add(shifted, L::splat(-ROUNDER))
}
