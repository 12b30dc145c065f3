//! Numbers in eight bits: a scale per row, and levels from −127 to 127.

use super::format::Format;
use crate::simd::{Level, ROUNDER, WIDTH, padded};

/// Most depths of an integer product: so many of its largest terms fit 32 bits.
pub(super) const MAX_INT8_DEPTH: usize = i32::MAX as usize / (255 * 127);

const NO_LEVELS: &str = "floats have no levels";

/// Writes values as levels of `scale` in words of a format for them; the rest of the last word is
/// filled with zeros.
#[inline(always)]
pub(super) fn write_levels<L: Level>(
    format: Format,
    values: &[f32],
    scale: f32,
    words: &mut [u32],
) {
    /// By a function that makes [`WIDTH`] words.
    macro_rules! write_by {
        ($levels:path) => {{
            let inverse = inverse(scale);
            let (whole, rest) = values.as_chunks();
            let (full, short) = words.split_at_mut(WIDTH * whole.len());
            for (words, values) in full.as_chunks_mut().0.iter_mut().zip(whole) {
                *words = $levels(values, inverse);
            }
            if !rest.is_empty() {
                let levels = $levels(&padded(rest, 0.0), inverse);
                let length = short.len().min(WIDTH);
                short[..length].copy_from_slice(&levels[..length]);
            }
        }};
    }
    match format {
        Format::Int16Pair => write_by!(L::int16_pairs),
        Format::Int8Quad => write_by!(L::int8_quads),
        Format::Float | Format::RoundedFloat | Format::Bf16Pair => unreachable!("{NO_LEVELS}"),
    }
}

/// Makes signed levels unsigned: plus 128.
#[inline(always)]
pub(super) fn add_128(format: Format, words: &mut [u32]) {
    match format {
        Format::Int16Pair => {
            for word in words {
                let low = (*word & 0xffff).wrapping_add(0x80) & 0xffff;
                *word = (*word & 0xffff_0000).wrapping_add(0x80_0000) | low;
            }
        }
        Format::Int8Quad => {
            for word in words {
                *word ^= 0x8080_8080;
            }
        }
        Format::Float | Format::RoundedFloat | Format::Bf16Pair => unreachable!("{NO_LEVELS}"),
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
