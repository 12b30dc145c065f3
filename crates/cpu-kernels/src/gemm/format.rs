//! How operands are written into 32-bit words.

use super::precision::{Direction, Precision};
use crate::isa::{Available, Isa};
use crate::simd::{Level, bf16_bits, write_bf16_pairs};

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
    /// Two of these depths in sixteen bits each, the first in the low half: for AVX2, whose exact
    /// products are those of 16-bit integers.
    Int16Pair,
}

impl Format {
    /// What words hold in a product on an instruction set.
    pub(super) fn of(isa: Available, precision: Precision, direction: Direction) -> Self {
        match (precision, direction) {
            (Precision::F32, _) => Self::Float,
            (Precision::Int8 | Precision::Int8Mixed, Direction::Forward) => {
                let multiplies_bytes = isa.includes(Isa::AvxVnni) || isa.has_avx512_vnni();
                if isa.includes(Isa::Avx2) && !multiplies_bytes {
                    Self::Int16Pair
                } else {
                    Self::Int8Quad
                }
            }
            (Precision::Bf16, _)
            | (Precision::Int8 | Precision::Int8Mixed, Direction::Backward) => {
                if isa.includes(Isa::Avx512Bf16) {
                    Self::Bf16Pair
                } else {
                    Self::RoundedFloat
                }
            }
        }
    }

    /// Depths in one word.
    pub(super) fn depths(self) -> usize {
        match self {
            Self::Float | Self::RoundedFloat => 1,
            Self::Bf16Pair | Self::Int16Pair => 2,
            Self::Int8Quad => 4,
        }
    }

    /// Whether it holds levels of eight bits.
    #[inline(always)]
    pub(super) fn is_int8(self) -> bool {
        matches!(self, Self::Int8Quad | Self::Int16Pair)
    }

    /// Words of so many depths.
    #[inline(always)]
    pub(super) fn words(self, depths: usize) -> usize {
        depths.div_ceil(self.depths())
    }
}

/// Writes values as words; the rest of the last word is filled with zeros.
///
/// Levels of eight bits have a scale and are written where it is known (`int8::write_levels`).
#[inline(always)]
pub(super) fn write_words<L: Level>(format: Format, values: &[f32], words: &mut [u32]) {
    match format {
        Format::Float | Format::Int8Quad | Format::Int16Pair => {
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
