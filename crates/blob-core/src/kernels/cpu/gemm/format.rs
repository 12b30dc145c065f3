//! How operands are written into 32-bit words.

use crate::kernels::cpu::simd::{Level, ROUNDER, bf16_bits, padded, write_bf16_pairs};

/// What the operands of a product are rounded to; sums are `f32` in each case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// Operands as they are.
    F32,
    /// Operands rounded to bfloat16, to nearest, ties to even.
    Bf16,
    /// Forward: operands rounded to eight bits, one scale per row. Backward: bf16.
    Int8,
    /// The same with inputs of at least 6 left as they are.
    Int8Mixed,
}

impl Precision {
    /// "f32", "bf16", "int8" or "int8-mixed".
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int8Mixed => "int8-mixed",
        }
    }

    /// Whether forward products run in eight bits.
    pub(super) fn is_int8(self) -> bool {
        matches!(self, Self::Int8 | Self::Int8Mixed)
    }
}

/// What a 32-bit word of an operand holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// An `f32`.
    Float,
    /// An `f32` that was rounded to bf16: for machines that multiply `f32` only.
    RoundedFloat,
    /// Two neighbouring depths in bf16, the first in the low half.
    Bf16Pair,
    /// Four neighbouring depths in eight bits, the first in the lowest: weights signed, x plus 128.
    Int8Quad,
}

impl Format {
    /// Depths in one word.
    pub(super) fn depths(self) -> usize {
        match self {
            Self::Float | Self::RoundedFloat => 1,
            Self::Bf16Pair => 2,
            Self::Int8Quad => 4,
        }
    }

    /// Words of a row of parts.
    #[inline(always)]
    pub(super) fn steps(self, parts: &[usize]) -> usize {
        parts.iter().map(|part| part.div_ceil(self.depths())).sum()
    }
}

/// Writes values as words; the rest of the last word is filled with zeros.
///
/// `Int8Quad` has a scale and is written where the scale is known.
#[inline(always)]
pub(super) fn write_words<L: Level>(format: Format, values: &[f32], words: &mut [u32]) {
    match format {
        Format::Float | Format::Int8Quad => {
            for (word, value) in words.iter_mut().zip(values) {
                *word = value.to_bits();
            }
        }
        Format::RoundedFloat => {
            for (word, value) in words.iter_mut().zip(values) {
                *word = bf16_bits(*value);
            }
        }
        Format::Bf16Pair => write_bf16_pairs::<L>(values, words),
    }
}

/// Writes values as eight-bit levels of `scale`, four to a word; the rest of the last word is filled with
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

/// Scale of a row in eight bits: its largest absolute value becomes 127. NaN if a value is not finite.
#[inline(always)]
pub(super) fn int8_scale(values: &[f32]) -> f32 {
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

/// 1/scale, or 0 for a row of zeros and one so small that this would be infinite: its levels are zeros.
#[inline(always)]
pub(crate) fn inverse(scale: f32) -> f32 {
    if scale >= f32::MIN_POSITIVE {
        1.0 / scale
    } else {
        0.0
    }
}

/// The nearest of −127…127 to `value·inverse`, ties to even, as an `f32`.
#[inline(always)]
pub(super) fn int8_level(value: f32, inverse: f32) -> f32 {
    (value * inverse + ROUNDER) - ROUNDER
}

/// [`int8_level`] of each lane.
#[inline(always)]
pub(super) fn int8_levels<L: Level>(values: L::Vector, inverse: f32) -> L::Vector {
    let shifted = L::add(L::scale(inverse, values), L::splat(ROUNDER));
    L::add(shifted, L::splat(-ROUNDER))
}
